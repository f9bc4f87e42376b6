"""A random forest, by XGBoost: trees grown apart, on draws of the rows and features, and averaged.

XGBoost, and not scikit-learn: its bytes are the same on any number of threads and on every processor, its own files are no pickle, and
its trees export to the bit. They average the outcomes in their leaves. For labels these are 0 and 1, so that the score is the mean
share of the label, as in scikit-learn; a round of boosting from a margin would exaggerate it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.schema.schema import FeatureSchema
from contract.schema.tasks import TASKS, Form
from pipelines.data.training import Part
from pipelines.models.engines.local import matrices
from pipelines.models.families import boosting
from pipelines.models.families.boosting import TOLERANCE, files, importance, margins
from pipelines.models.families.thresholds import between_rows
from pipelines.models.families.trees import booster_to_onnx
from pipelines.models.family import ALONE, Matrix, Rows, Session
from pipelines.models.graph import SMALLEST_SHARE, Link
from pipelines.params.train import ForestParams

__all__ = ["TOLERANCE", "files", "importance", "margins", "scores", "to_onnx", "train", "unseen"]

_LINKS: dict[Form, Link] = {
    "probability": "share",
    "probabilities": "shares",
    "value": "identity",
    "quantiles": "ascending",
}


def train(
    rows: Rows, settings: ForestParams, schema: FeatureSchema, session: Session = ALONE
) -> tuple[Any, dict[str, Any]]:
    """Return the forest, and the splits of its trees; it has no rounds to report.

    The same input gives the same bytes, whatever `threads` is.
    """
    forest = between_rows(_grown(rows, Part.ALL, settings, schema, session), rows.values)
    return forest, {"splits": boosting.splits(forest)}


def unseen(rows: Rows, settings: ForestParams, schema: FeatureSchema, session: Session = ALONE) -> Any:
    """Return the forest of the training rows alone."""
    return _grown(rows, Part.TRAINING, settings, schema, session)


def _grown(rows: Rows, part: Part, settings: ForestParams, schema: FeatureSchema, session: Session) -> Any:
    import xgboost

    asked = boosting.asked_of(settings, schema) | {
        "learning_rate": 1,
        "reg_lambda": 0,  # a leaf is the mean of its rows
        "num_parallel_tree": settings.trees,
    }
    if not TASKS[schema.task].is_number:
        asked = {**asked, "objective": "reg:squarederror", "num_class": 0}
    with matrices(settings, session, lambda outcomes: _numbers(outcomes, schema)) as matrix:
        return xgboost.train(asked, matrix.make(rows, part), num_boost_round=1)


def to_onnx(forest: Any, schema: FeatureSchema) -> bytes:
    """Return the bytes of the ONNX model; see `pipelines.models.families.trees`."""
    return booster_to_onnx(forest, len(schema.features), _LINKS[TASKS[schema.task].form])


def scores(forest: Any, matrix: Matrix, schema: FeatureSchema) -> NDArray[np.float32]:
    """Return the scores of XGBoost, as shares where the target has labels."""
    means: NDArray[np.float32] = forest.inplace_predict(matrix)
    if TASKS[schema.task].has_positive:
        means = means.clip(0, 1)
    if TASKS[schema.task].has_many_labels:
        positive = np.maximum(means, np.float32(SMALLEST_SHARE))
        shares: NDArray[np.float32] = positive / positive.sum(axis=1, keepdims=True)
        return shares
    return np.sort(means, axis=1) if TASKS[schema.task].has_quantiles else means


def _numbers(outcomes: NDArray[Any], schema: FeatureSchema) -> NDArray[Any]:
    """Return what the trees average: the number, or 1 for the label and 0 for others, of each label in a column."""
    if not TASKS[schema.task].has_many_labels:
        return outcomes
    is_label: NDArray[np.bool_] = outcomes[:, None] == np.arange(len(schema.target.labels))
    return is_label.astype(np.float32)
