"""The hold-out, a sample of the training rows, and the scores of both by each model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from contract.errors import DataRejectedError
from contract.model.predictor import Predictor
from pipelines import paths
from pipelines.data import learned, splits, tables
from pipelines.data.clusters import Clusters, clusters_of
from pipelines.data.history import accepted
from pipelines.data.learned import UnknownRowsError
from pipelines.params.features.transforms import FeatureParams
from pipelines.params.judging.split import Split
from pipelines.params.params import Data, TargetParams
from pipelines.statistics.measures import Outcomes, Scores

_MEMBERS = 50_000  # so many give an AUC a standard error of 0.002, and take a second or two to encode


@dataclass(frozen=True)
class Labelled:
    """Rows with their outcomes."""

    table: pl.DataFrame
    outcomes: Outcomes


@dataclass(frozen=True)
class Members(Labelled):
    """A sample of the training rows.

    Attributes:
        clusters: of these rows, then of those of the hold-out, numbered together.
    """

    clusters: Clusters


@dataclass(frozen=True)
class Holdout(Labelled):
    """The labelled rows of the hold-out.

    Attributes:
        clusters: numbers of the units of resampling; `unit` says what they are.
        rule: which rows this model has learned from (see `pipelines.data.learned`).
        digest: SHA-256 of the identities and the outcomes of these rows, in whatever order; the ledger of looks knows it.
        unseen_by_live: mask of the rows that the live model has not learned from, or the reason why that is unknown.
    """

    clusters: Clusters
    unit: str
    unlabelled: int
    rule: dict[str, Any]
    digest: str
    unseen_by_live: NDArray[np.bool_] | UnknownRowsError


def load(
    data: Data,
    target: TargetParams,
    split: Split,
    features: Mapping[str, FeatureParams],
    rule_of_live: Any,
    seed: int,
) -> tuple[Holdout, Members]:
    """Return the hold-out that the stage `features` set apart, and a sample of the training rows.

    Args:
        rule_of_live: which rows the live model has learned from, as its manifest says it.
        seed: of the sample; the same seed gives the same rows.

    Raises:
        DataRejectedError: the target has labels, and the hold-out fewer than two of them.
    """
    table, parts = accepted.read(data.months), tables.read(paths.PARTS)[splits.PART]
    outcomes = tables.outcomes(table, target)
    is_held, is_labelled = parts == splits.HOLDOUT, outcomes.is_not_null()
    is_judged = is_held & is_labelled
    rows, known = table.filter(is_judged), outcomes.filter(is_judged).to_numpy()
    if target.labels and len(labels := np.unique(known)) < 2:
        only = f", all of them “{target.labels[int(labels[0])]}”" if len(labels) else ""
        raise DataRejectedError(
            f"the hold-out has {len(known)} rows with an outcome{only}; judging a model takes two labels at least: hold out more rows "
            "(split.holdout)"
        )
    clusters, unit = clusters_of(rows, data.time, split)
    trained = (parts.is_in([splits.TRAINING, splits.VALIDATION]) & is_labelled).arg_true().to_numpy()
    if len(trained) > _MEMBERS:
        trained = np.sort(np.random.default_rng(seed).choice(trained, _MEMBERS, replace=False))
    members = Members(
        table[trained],
        outcomes[trained].to_numpy(),
        clusters_of(pl.concat([table[trained], rows]), data.time, split)[0],
    )
    try:
        unseen: NDArray[np.bool_] | UnknownRowsError = ~learned.apply(rule_of_live, table, data.columns, target)[
            is_judged.to_numpy()
        ]
    except UnknownRowsError as error:
        unseen = error
    unlabelled = int(is_held.sum()) - len(known)
    rule = learned.rule(table, parts, split, data, target, features)
    digest = _digest(rows, known, splits.identity(data.key, features))
    return Holdout(rows, known, clusters, unit, unlabelled, rule, digest, unseen), members


def _digest(rows: pl.DataFrame, outcomes: Outcomes, identity: Sequence[str]) -> str:
    draws = splits.draws(rows, identity, seed=0)
    order = np.lexsort((outcomes, draws))
    return sha256(draws[order].tobytes() + outcomes[order].astype(np.float64).tobytes()).hexdigest()


def models() -> dict[str, Predictor]:
    """Return the models that this run has trained: `model`, `linear`, `uncalibrated` if the model is calibrated."""
    model = Predictor.load(paths.BOOSTED)
    bare = {"uncalibrated": Predictor(paths.UNCALIBRATED, model.schema)} if paths.UNCALIBRATED.exists() else {}
    return {"model": model, **bare, "linear": Predictor.load(paths.LINEAR)}


def scores(rows: Labelled, models: Mapping[str, Predictor], prior: Any) -> dict[str, Scores]:
    """Return the scores of the rows by each model, and by the `prior`, which answers every row alike."""
    shape = (len(rows.outcomes), len(prior)) if isinstance(prior, list) else (len(rows.outcomes),)
    alike = np.broadcast_to(np.asarray(prior, np.float64), shape)
    return {**{name: score(model, rows) for name, model in models.items()}, "prior": alike}


def score(predictor: Predictor, rows: Labelled) -> Scores:
    """Return the scores of the rows, as float64."""
    names = [field.name for field in predictor.schema.fields]
    return predictor.score_table(tables.encodable(rows.table, names)).astype(np.float64)
