"""Measures of a model by its task; pure functions on arrays without NaN.

| task       | `outcomes`, of shape (rows,) | `scores`                                          |
|------------|------------------------------|---------------------------------------------------|
| binary     | 0 or 1 (also `labels`)       | probabilities of 1, of shape (rows,)              |
| multiclass | the index of the label       | probabilities of each, of shape (rows, labels)    |
| regression | the number                   | the predicted number, of shape (rows,)            |
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Outcomes = NDArray[Any]
Labels = NDArray[np.int8]
Scores = NDArray[np.float64]

_BINS = 10
# What a measure is called, and how it is to be read.
NAMES = {
    "roc_auc": ("ROC-AUC", "higher is better; 0.5 is chance"),
    "pr_auc": ("PR-AUC", "higher is better; the positive share is chance"),
    "accuracy": ("accuracy", "higher is better"),
    "log_loss": ("log loss", "lower is better"),
    "brier": ("Brier score", "lower is better"),
    "rmse": ("RMSE", "lower is better; in the unit of the target"),
    "mae": ("MAE", "lower is better; in the unit of the target"),
    "r2": ("R²", "higher is better; 1 is perfect, 0 is the mean"),
    "calibration_error": ("calibration error", "lower is better"),
}


def measure(task: str, outcomes: Outcomes, scores: Scores) -> dict[str, float]:
    """The measures of the task, by name; those that have no meaning on these rows are left out."""
    return {"binary": measure_binary, "multiclass": measure_multiclass, "regression": measure_regression}[task](
        outcomes, scores
    )


def measure_binary(labels: Labels, scores: Scores) -> dict[str, float]:
    """ROC-AUC, PR-AUC (average precision), log loss (nats), Brier score and expected calibration error.

    Where only one class is there, the two areas are left out: they have no meaning.
    """
    from sklearn.metrics import average_precision_score, brier_score_loss, log_loss, roc_auc_score

    measures = {
        "log_loss": float(log_loss(labels, scores, labels=[0, 1])),
        "brier": float(brier_score_loss(labels, scores)),
        "calibration_error": calibration_error(labels, scores),
    }
    if 0 < labels.sum() < len(labels):
        measures["roc_auc"] = float(roc_auc_score(labels, scores))
        measures["pr_auc"] = float(average_precision_score(labels, scores))
    return measures


def measure_multiclass(codes: Outcomes, scores: Scores) -> dict[str, float]:
    """Log loss (nats), accuracy, macro ROC-AUC (one against the rest) and the calibration error of the most probable label.

    ROC-AUC is left out where not every label is there.
    """
    from sklearn.metrics import roc_auc_score

    best = scores.argmax(axis=1)
    measures = {
        "log_loss": float(losses("multiclass", codes, scores).mean()),
        "accuracy": float((best == codes).mean()),
        "calibration_error": calibration_error((best == codes).astype(np.int8), scores.max(axis=1)),
    }
    labels = range(scores.shape[1])
    if len(np.unique(codes)) == len(labels):
        measures["roc_auc"] = float(np.mean([roc_auc_score(codes == label, scores[:, label]) for label in labels]))
    return measures


def measure_regression(values: Outcomes, scores: Scores) -> dict[str, float]:
    """Root mean squared error and mean absolute error, in the target's unit, and R², left out where all values are equal."""
    squared = losses("regression", values, scores)
    measures = {"rmse": float(np.sqrt(squared.mean())), "mae": float(np.abs(values - scores).mean())}
    if (spread := float(np.var(values))) > 0:
        measures["r2"] = 1 - float(squared.mean()) / spread
    return measures


def describe(task: str, outcomes: Outcomes) -> dict[str, float]:
    """What the outcomes themselves are like: the positive share, or the mean."""
    if task == "multiclass":
        return {}
    return {"positive_rate" if task == "binary" else "mean": float(outcomes.mean())}


def losses(task: str, outcomes: Outcomes, scores: Scores) -> Scores:
    """The loss of each row: log loss (nats; probabilities from the smallest float64 step up) or squared error."""
    if task == "multiclass":
        from scipy.special import xlogy  # NumPy's logarithm has other last bits on another processor

        chances = scores[np.arange(len(outcomes)), outcomes]
        log_losses: Scores = -xlogy(1.0, np.clip(chances, np.finfo(np.float64).eps, 1.0))
        return log_losses
    squared: Scores = (outcomes - scores) ** 2
    return squared


def calibration_error(labels: Labels, scores: Scores, bins: int = _BINS) -> float:
    """Expected calibration error: mean distance of mean score and positive share over bins of equal count, weighted by count.

    Source: Naeini, Cooper, Hauskrecht 2015, with quantile bins.
    """
    if not len(labels):
        return 0.0
    return float(
        sum(abs(entry["score"] - entry["rate"]) * entry["rows"] for entry in calibration(labels, scores, bins))
        / len(labels)
    )


def calibration(labels: Labels, scores: Scores, bins: int = _BINS) -> list[dict[str, float]]:
    """Mean score and positive share by bins of equal count, in ascending order of score."""
    order = np.argsort(scores, kind="stable")
    return [
        {"score": float(scores[part].mean()), "rate": float(labels[part].mean()), "rows": len(part)}
        for part in np.array_split(order, bins)
        if len(part)
    ]


def concordance(labels: Labels, scores: Scores, days: NDArray[np.int64]) -> NDArray[np.float64]:
    """Concordant pairs by day: entry (i, j) counts the pairs of a positive of day i and a negative of day j that are in order.

    Ties count one half. ROC-AUC is the sum over all pairs divided by their number, so any re-weighting of days is a product.
    """
    size = int(days.max()) + 1
    pairs = np.zeros((size, size))
    positive = labels == 1
    for day in range(size):
        negatives = np.sort(scores[(days == day) & ~positive])
        below = np.searchsorted(negatives, scores[positive], "left")
        upto = np.searchsorted(negatives, scores[positive], "right")
        pairs[:, day] = np.bincount(days[positive], (below + upto) / 2, minlength=size)
    return pairs


def auc_by_resampled_days(
    labels: Labels, concordant: NDArray[np.float64], days: NDArray[np.int64], *, resamples: int, seed: int
) -> Scores:
    """ROC-AUC from concordant pairs (or a difference of two from theirs): first as measured, then once for each resampling of days.

    Rows of one day share weather and congestion; taking them as independent would make every bound far too tight.
    """
    size = int(days.max()) + 1
    weights = np.random.default_rng(seed).multinomial(size, np.full(size, 1 / size), resamples).astype(np.float64)
    weights = np.vstack([np.ones(size), weights])
    positives, negatives = (np.bincount(days[labels == value], minlength=size) for value in (1, 0))
    # Products of whole and half numbers: exact, whatever the order in which a processor adds them.
    pairs = (weights @ positives) * (weights @ negatives)
    with np.errstate(invalid="ignore"):
        areas: Scores = np.einsum("bi,ij,bj->b", weights, concordant, weights, optimize=True) / pairs
    return areas
