"""XGBoost: how many rounds, learned on the validation rows; then the model, trained on all rows before the hold-out."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.schema.schema import FeatureSchema
from contract.schema.tasks import TASKS
from pipelines.params.params import Train
from pipelines.stages.train.thresholds import between_rows

Matrix = NDArray[np.float32]
Outcomes = NDArray[Any]

# Task -> XGBoost's objective, its measure of the validation, and what that is called here.
_OBJECTIVES = {
    "binary": ("binary:logistic", "logloss", "log_loss"),
    "multiclass": ("multi:softprob", "mlogloss", "log_loss"),
    "regression": ("reg:squarederror", "rmse", "rmse"),
}


def train(
    matrix: Matrix, outcomes: Outcomes, is_validation: NDArray[np.bool_], settings: Train, schema: FeatureSchema
) -> tuple[Any, dict[str, Any]]:
    """The booster, and what is known of its training: rounds, and the validation's log loss or root mean squared error.

    Args:
        matrix: float32, rows × features, NaN for missing.
        outcomes: the index of the label, or the number, of each row.
        is_validation: the rows that stop the boosting.
        settings: `train` of `params.yaml`.
        schema: for its task and labels.

    The same input gives the same bytes, whatever `threads` is. No threshold of the booster is a value of the matrix.
    """
    import xgboost

    _, measure, name = _OBJECTIVES[schema.task]
    asked = _settings(settings, schema)
    learned = _quantised(matrix[~is_validation], outcomes[~is_validation], settings)
    held = xgboost.QuantileDMatrix(matrix[is_validation], outcomes[is_validation], ref=learned)
    log: dict[str, Any] = {}
    stopped = xgboost.train(
        asked,
        learned,
        num_boost_round=settings.max_rounds,
        evals=[(held, "validation")],
        early_stopping_rounds=settings.early_stopping_rounds,
        evals_result=log,
        verbose_eval=False,
    )
    rounds = stopped.best_iteration + 1
    booster = xgboost.train(asked, _quantised(matrix, outcomes, settings), num_boost_round=rounds)
    return between_rows(booster, matrix), {
        "rounds": rounds,
        f"validation_{name}": log["validation"][measure][rounds - 1],
    }


def importance(booster: Any, names: list[str]) -> dict[str, float]:
    """Each feature's share of the total gain, in [0, 1]; 0 for one that no tree uses."""
    gains = booster.get_score(importance_type="total_gain")
    total = sum(gains.values()) or 1.0
    return {name: gains.get(f"f{index}", 0.0) / total for index, name in enumerate(names)}


def splits(booster: Any) -> int:
    """How many splits all trees have together; 0 where there was nothing to learn, and every row gets the same score."""
    return sum(line.count("split_condition") for line in booster.get_dump(dump_format="json"))


def _quantised(matrix: Matrix, outcomes: Outcomes, settings: Train) -> Any:
    import xgboost

    return xgboost.QuantileDMatrix(matrix, outcomes, nthread=settings.threads)


def _settings(settings: Train, schema: FeatureSchema) -> dict[str, Any]:
    objective, measure, _ = _OBJECTIVES[schema.task]
    classes = {"num_class": len(schema.target.labels)} if TASKS[schema.task].has_many_labels else {}
    return classes | {
        "objective": objective,
        "eval_metric": measure,
        "tree_method": "hist",
        "seed": settings.seed,
        "max_depth": settings.max_depth,
        "learning_rate": settings.learning_rate,
        "min_child_weight": settings.min_child_weight,
        "subsample": settings.subsample,
        "colsample_bytree": settings.colsample_bytree,
        "nthread": settings.threads,
    }
