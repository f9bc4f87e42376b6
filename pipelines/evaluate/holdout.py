"""The rows that no model has seen, a sample of those that it has, and what each model says about them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from contract.errors import DataRejectedError
from contract.predictor import Predictor
from pipelines import comparisons, paths, splits, tables
from pipelines.comparisons import Clusters
from pipelines.measures import Outcomes, Scores
from pipelines.params import Params

_MEMBERS = 50_000  # so many give an AUC a standard error of 0.002, and take a second or two to encode


@dataclass(frozen=True)
class Labelled:
    """Rows with what they turned out to be."""

    table: pl.DataFrame
    outcomes: Outcomes


@dataclass(frozen=True)
class Holdout(Labelled):
    """The labelled rows of the hold-out; `clusters` numbers the units of resampling, of which `unit` says what they are."""

    clusters: Clusters
    unit: str
    unlabelled: int


def load(params: Params) -> tuple[Holdout, Labelled]:
    """The hold-out that `features` set apart, and a sample of the rows that the model was trained on; the same one each time.

    Raises:
        DataRejectedError: the hold-out has not both labels of a binary target.
    """
    table, parts = tables.read_partitions(params.data.months), tables.read(paths.PARTS)[splits.PART]
    outcomes = tables.outcomes(table, params.target)
    is_held, is_labelled = parts == splits.HOLDOUT, outcomes.is_not_null()
    rows = table.filter(is_held & is_labelled)
    known = outcomes.filter(is_held & is_labelled).to_numpy()
    if params.target.task == "binary" and not 0 < known.sum() < len(known):
        raise DataRejectedError(
            f"the hold-out has {len(known)} labelled rows, {int(known.sum())} of them positive; "
            "a model cannot be judged on that"
        )
    clusters, unit = comparisons.clusters(rows, params.data.time, params.split)
    learned = (parts.is_in([splits.TRAINING, splits.VALIDATION]) & is_labelled).arg_true().to_numpy()
    if len(learned) > _MEMBERS:
        learned = np.sort(np.random.default_rng(params.train.seed).choice(learned, _MEMBERS, replace=False))
    members = Labelled(table[learned], outcomes[learned].to_numpy())
    return Holdout(rows, known, clusters, unit, int(is_held.sum()) - len(known)), members


def scores(params: Params, holdout: Holdout, prior: Any) -> dict[str, Scores]:
    """Scores by model: `model`, `linear`, `prior`, and `champion` where there is a comparable live model."""
    found = scores_of_run(holdout, prior)
    if (paths.CHAMPION / "model.onnx").exists():
        champion = Predictor.load(paths.CHAMPION)
        if _can_answer(champion, params, holdout):
            found["champion"] = _score(champion, holdout)
    return found


def scores_of_run(rows: Labelled, prior: Any) -> dict[str, Scores]:
    """Scores by the models that this run has trained: `model`, `linear` and `prior`."""
    shape = (len(rows.outcomes), len(prior)) if isinstance(prior, list) else (len(rows.outcomes),)
    return {
        "model": _score(Predictor.load(paths.BOOSTED), rows),
        "linear": _score(Predictor.load(paths.LINEAR), rows),
        "prior": np.broadcast_to(np.asarray(prior, np.float64), shape),
    }


def _can_answer(champion: Predictor, params: Params, holdout: Holdout) -> bool:
    """A live model of another table, of another task, or of columns that are gone, cannot answer for these rows."""
    schema = champion.schema
    same_task = (schema.task, schema.target.labels) == (params.target.task, params.target.labels)
    return same_task and all(field.name in holdout.table.columns for field in schema.fields)


def _score(predictor: Predictor, rows: Labelled) -> Scores:
    names = [field.name for field in predictor.schema.fields]
    return predictor.score_columns(tables.columns_of(rows.table, names)).astype(np.float64)
