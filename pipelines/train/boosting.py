"""XGBoost: how many rounds, learned on the validation period; then the model, trained on all rows before the hold-out."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.params import Train

Matrix = NDArray[np.float32]
Labels = NDArray[np.int8]


def train(
    matrix: Matrix, labels: Labels, is_validation: NDArray[np.bool_], settings: Train
) -> tuple[Any, dict[str, Any]]:
    """The booster, and what is known of its training: rounds and the validation's log loss.

    Args:
        matrix: float32, rows × features, NaN for missing.
        labels: 0 or 1 a row.
        is_validation: the rows that stop the boosting; they come last in time.
        settings: `train` of `params.yaml`.

    The same input gives the same bytes, whatever `threads` is.
    """
    import xgboost

    learned = _quantised(matrix[~is_validation], labels[~is_validation], settings)
    held = xgboost.QuantileDMatrix(matrix[is_validation], labels[is_validation], ref=learned)
    log: dict[str, Any] = {}
    stopped = xgboost.train(
        _settings(settings),
        learned,
        num_boost_round=settings.max_rounds,
        evals=[(held, "validation")],
        early_stopping_rounds=settings.early_stopping_rounds,
        evals_result=log,
        verbose_eval=False,
    )
    rounds = stopped.best_iteration + 1
    booster = xgboost.train(_settings(settings), _quantised(matrix, labels, settings), num_boost_round=rounds)
    return booster, {"rounds": rounds, "validation_log_loss": log["validation"]["logloss"][rounds - 1]}


def importance(booster: Any, names: list[str]) -> dict[str, float]:
    """Each feature's share of the total gain, in [0, 1]; 0 for one that no tree uses."""
    gains = booster.get_score(importance_type="total_gain")
    total = sum(gains.values()) or 1.0
    return {name: gains.get(f"f{index}", 0.0) / total for index, name in enumerate(names)}


def _quantised(matrix: Matrix, labels: Labels, settings: Train) -> Any:
    import xgboost

    return xgboost.QuantileDMatrix(matrix, labels, nthread=settings.threads)


def _settings(settings: Train) -> dict[str, Any]:
    return {
        "objective": "binary:logistic",
        "eval_metric": "logloss",
        "tree_method": "hist",
        "seed": settings.seed,
        "max_depth": settings.max_depth,
        "learning_rate": settings.learning_rate,
        "min_child_weight": settings.min_child_weight,
        "subsample": settings.subsample,
        "colsample_bytree": settings.colsample_bytree,
        "nthread": settings.threads,
    }
