"""The rows that no model has seen, and what each model says about them."""

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


@dataclass(frozen=True)
class Holdout:
    """The labelled rows of the hold-out; `clusters` numbers the units of resampling, of which `unit` says what they are."""

    table: pl.DataFrame
    outcomes: Outcomes
    clusters: Clusters
    unit: str
    unlabelled: int


def load(params: Params) -> Holdout:
    """The hold-out that `features` set apart.

    Raises:
        DataRejectedError: it has not both labels of a binary target.
    """
    table, parts = tables.read_partitions(params.data.months), tables.read(paths.PARTS)[splits.PART]
    rows = table.filter(parts == splits.HOLDOUT)
    outcomes = tables.outcomes(rows, params.target)
    labelled = rows.filter(outcomes.is_not_null())
    known = outcomes.drop_nulls().to_numpy()
    if params.target.task == "binary" and not 0 < known.sum() < len(known):
        raise DataRejectedError(
            f"the hold-out has {len(known)} labelled rows, {int(known.sum())} of them positive; "
            "a model cannot be judged on that"
        )
    clusters, unit = comparisons.clusters(labelled, params.data.time, params.split)
    return Holdout(labelled, known, clusters, unit, rows.height - labelled.height)


def scores(params: Params, holdout: Holdout, prior: Any) -> dict[str, Scores]:
    """Scores by model: `model`, `linear`, `prior`, and `champion` where there is a comparable live model."""
    shape = (len(holdout.outcomes), len(prior)) if isinstance(prior, list) else (len(holdout.outcomes),)
    found: dict[str, Scores] = {
        "model": _score(Predictor.load(paths.BOOSTED), holdout),
        "linear": _score(Predictor.load(paths.LINEAR), holdout),
        "prior": np.broadcast_to(np.asarray(prior, np.float64), shape),
    }
    if (paths.CHAMPION / "model.onnx").exists():
        champion = Predictor.load(paths.CHAMPION)
        if _can_answer(champion, params, holdout):
            found["champion"] = _score(champion, holdout)
    return found


def _can_answer(champion: Predictor, params: Params, holdout: Holdout) -> bool:
    """A live model of another table, of another task, or of columns that are gone, cannot answer for these rows."""
    schema = champion.schema
    same_task = (schema.task, schema.target.labels) == (params.target.task, params.target.labels)
    return same_task and all(field.name in holdout.table.columns for field in schema.fields)


def _score(predictor: Predictor, holdout: Holdout) -> Scores:
    names = [field.name for field in predictor.schema.fields]
    return predictor.score_columns(tables.columns_of(holdout.table, names)).astype(np.float64)
