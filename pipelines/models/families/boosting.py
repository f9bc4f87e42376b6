"""XGBoost: early stopping on the validation rows sets the rounds; the model is trained on all rows before the hold-out."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.schema.schema import FeatureSchema
from contract.schema.tasks import TASKS
from pipelines.models.device import available
from pipelines.models.export import TOLERANCE as TOLERANCE
from pipelines.models.families.thresholds import between_rows
from pipelines.models.families.trees import OBJECTIVES, booster_to_onnx
from pipelines.models.family import Matrix, Rows
from pipelines.models.rounds import Watch, ignored, reported
from pipelines.params.train import BoostingParams, TreeParams

Outcomes = NDArray[Any]
_DIRECTIONS = {"increasing": 1, "decreasing": -1, None: 0}
# Settings that have XGBoost's own names.
_OWN = (
    "seed", "max_depth", "learning_rate", "min_child_weight", "subsample", "colsample_bytree", "colsample_bynode", "rate_drop",
    "skip_drop", "booster",
)  # fmt: skip


def train(
    rows: Rows, settings: BoostingParams, schema: FeatureSchema, watch: Watch = ignored
) -> tuple[Any, dict[str, Any]]:
    """Return the booster, and its rounds, splits, and log loss or RMSE on the validation rows.

    The same input gives the same bytes, whatever `threads` is. No threshold of the booster is a value of the matrix.
    """
    import xgboost

    stopped, loss = _searched(rows, settings, schema, watch)
    rounds = stopped.num_boosted_rounds()
    matrix = rows.matrix
    booster = xgboost.train(
        asked_of(settings, schema),
        _quantised(matrix, rows.outcomes, settings),
        num_boost_round=rounds,
        callbacks=[reported(watch, "training on all rows", rounds)],
    )
    moved = between_rows(booster, matrix)
    return moved, {
        "rounds": rounds,
        "splits": splits(moved),
        f"validation_{OBJECTIVES[schema.task].measure}": loss,
    }


def unseen(rows: Rows, settings: BoostingParams, schema: FeatureSchema, watch: Watch = ignored) -> Any:
    """Return the booster of the training rows, up to its best round on the validation rows."""
    return _searched(rows, settings, schema, watch)[0]


def _searched(rows: Rows, settings: BoostingParams, schema: FeatureSchema, watch: Watch) -> tuple[Any, float]:
    """Return the booster of the training rows up to its best round, and its loss on the validation rows."""
    import xgboost

    matrix, outcomes, is_validation = rows.matrix, rows.outcomes, rows.is_validation
    asked = asked_of(settings, schema)
    learned = _quantised(matrix[~is_validation], outcomes[~is_validation], settings)
    # The bins of the training rows.
    held = xgboost.QuantileDMatrix(
        matrix[is_validation], outcomes[is_validation], ref=learned, nthread=settings.threads
    )
    log: dict[str, Any] = {}
    stopped = xgboost.train(
        asked,
        learned,
        num_boost_round=settings.max_rounds,
        evals=[(held, "validation")],
        early_stopping_rounds=settings.early_stopping_rounds,
        evals_result=log,
        verbose_eval=False,
        callbacks=[reported(watch, "rounds by validation", settings.max_rounds)],
    )
    rounds = stopped.best_iteration + 1  # it counts from 0
    return stopped[:rounds], log["validation"][asked["eval_metric"]][rounds - 1]


def asked_of(settings: TreeParams, schema: FeatureSchema) -> dict[str, Any]:
    """Return the settings of XGBoost: objective, parameters of trees and boosting, and constraints by position.

    Raises:
        ConfigurationError: as `available` does.
    """
    own = {name: getattr(settings, name) for name in _OWN if hasattr(settings, name)}
    always = {"tree_method": "hist", "nthread": settings.threads, "device": available(settings.device)}
    return always | objective(schema) | own | constraints(settings, schema)


def constraints(settings: TreeParams, schema: FeatureSchema) -> dict[str, Any]:
    """Return the monotone and interaction constraints of XGBoost, which goes by the positions of features."""
    names = schema.feature_names
    found: dict[str, Any] = {}
    if settings.monotone:
        found["monotone_constraints"] = tuple(_DIRECTIONS[settings.monotone.get(name)] for name in names)
    if settings.interactions:
        grouped = {name for group in settings.interactions for name in group}
        groups = [*settings.interactions, [name for name in names if name not in grouped]]
        # As text: XGBoost takes the entries of a list for names, and its matrix has none here.
        found["interaction_constraints"] = str([[names.index(name) for name in group] for group in groups if group])
    return found


def objective(schema: FeatureSchema) -> dict[str, Any]:
    """Return objective, metric and number of classes, as settings of XGBoost."""
    classes = {"num_class": len(schema.target.labels)} if TASKS[schema.task].has_many_labels else {}
    found = OBJECTIVES[schema.task]
    return classes | {"objective": found.name, "eval_metric": found.metric}


def to_onnx(booster: Any, schema: FeatureSchema) -> bytes:
    """Return the bytes of the ONNX model; see `pipelines.models.families.trees`."""
    return booster_to_onnx(booster, len(schema.features))


def scores(booster: Any, matrix: Matrix, _schema: FeatureSchema) -> NDArray[np.float32]:
    """Return the scores of XGBoost."""
    predicted: NDArray[np.float32] = booster.inplace_predict(matrix)
    return predicted


def margins(booster: Any, matrix: Matrix, _schema: FeatureSchema) -> NDArray[np.float32]:
    """Return the sums of the trees."""
    predicted: NDArray[np.float32] = booster.inplace_predict(matrix, predict_type="margin")
    return predicted


def importance(booster: Any, _rows: Rows, schema: FeatureSchema) -> dict[str, float]:
    """Return each feature's share of the total gain; 0 for one that no tree uses."""
    gains = booster.get_score(importance_type="total_gain")
    total = sum(gains.values()) or 1.0
    return {name: gains.get(f"f{index}", 0.0) / total for index, name in enumerate(schema.feature_names)}


def files(booster: Any) -> dict[str, bytes]:
    """Return the booster in XGBoost's own binary JSON."""
    return {"model.ubj": bytes(booster.save_raw("ubj"))}


def splits(booster: Any) -> int:
    """Return the splits of all trees; with 0 the model learned nothing, and every row gets the same score."""
    return sum(line.count("split_condition") for line in booster.get_dump(dump_format="json"))


def _quantised(matrix: Matrix, outcomes: Outcomes, settings: BoostingParams) -> Any:
    import xgboost

    return xgboost.QuantileDMatrix(matrix, outcomes, nthread=settings.threads)
