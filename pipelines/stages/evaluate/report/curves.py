"""The curves behind `dvc plots` and the report, thinned to what a picture can show."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.schema.tasks import TASKS
from pipelines.data.clusters import Clusters
from pipelines.params.params import TargetParams
from pipelines.statistics.bounds import widened
from pipelines.statistics.comparisons import draws
from pipelines.statistics.measures import Outcomes, Scores, calibration, counts_by_threshold

FIELDS = {
    "roc": ("fpr", "tpr"),
    "pr": ("recall", "precision"),
    "confusion": ("actual", "predicted"),
    "predicted": ("actual", "predicted"),
    "residuals": ("residual", "rows"),
    "calibration": ("score", "rate", "rows"),
    "importance": ("feature", "importance"),
}
_POINTS = 200
_GRID = np.linspace(0, 1, 101)
_RESIDUAL_BINS = 40


def roc(labels: Outcomes, scores: Scores) -> list[dict[str, float]]:
    """Return the ROC curve, thinned to at most 200 points."""
    from sklearn.metrics import roc_curve

    false_positive, true_positive, _ = roc_curve(labels, scores)
    return _thin({"fpr": false_positive, "tpr": true_positive})


def precision_recall(labels: Outcomes, scores: Scores) -> list[dict[str, float]]:
    """Return precision by ascending recall, thinned to at most 200 points."""
    from sklearn.metrics import precision_recall_curve

    precision, recall, _ = precision_recall_curve(labels, scores)
    # scikit-learn returns them by descending recall.
    return _thin({"recall": recall[::-1], "precision": precision[::-1]})


def curves(
    target: TargetParams, outcomes: Outcomes, scores: Scores, importance: dict[str, float]
) -> dict[str, list[dict[str, Any]]]:
    """Return the rows of each curve of the task, by name (see `FIELDS`); of quantiles the middle one is drawn.

    Every task has `calibration` and `importance`; labels have `roc`, `pr` and `confusion` too, numbers `predicted` and
    `residuals`. With three or more labels, ROC and precision-recall pool every label against the rest.
    """
    ranked = sorted(importance.items(), key=lambda entry: -entry[1])
    importances = [{"feature": name, "importance": share} for name, share in ranked]
    task = TASKS[target.task]
    if task.is_number:
        middle = scores[:, scores.shape[1] // 2] if task.has_quantiles else scores
        return {
            "predicted": _thin({"actual": np.sort(outcomes), "predicted": middle[np.argsort(outcomes, kind="stable")]}),
            "residuals": residuals(outcomes, middle),
            "calibration": coverage(target.quantiles, outcomes, scores)
            if task.has_quantiles
            else calibration(outcomes, scores),
            "importance": importances,
        }
    if task.has_positive:
        labels, chances, best = outcomes, scores, (scores >= target.threshold).astype(int)
        calibrated = calibration(outcomes, scores)
    else:
        labels, chances, best = (
            (outcomes[:, None] == np.arange(scores.shape[1])).ravel(),
            scores.ravel(),
            scores.argmax(1),
        )
        calibrated = calibration((best == outcomes).astype(np.int8), scores.max(axis=1))
    return {
        "roc": roc(labels, chances),
        "pr": precision_recall(labels, chances),
        "confusion": [
            {"actual": target.labels[actual], "predicted": target.labels[predicted]}
            for actual, predicted in zip(outcomes, best, strict=True)
        ],
        "calibration": calibrated,
        "importance": importances,
    }


def bands(
    target: TargetParams, outcomes: Outcomes, scores: Scores, clusters: Clusters, *, resamples: int, seed: int
) -> dict[str, list[dict[str, float]]]:
    """Return for ROC (`fpr`) and precision-recall (`recall`) pointwise 95 % bounds of the other axis; none for numbers.

    The curve of each resampling of whole clusters is read off at the same places. It is made from counts above 200 thresholds.
    """
    task = TASKS[target.task]
    if task.is_number:
        return {}
    labels, chances = outcomes, scores
    if task.has_many_labels:
        labels = (outcomes[:, None] == np.arange(scores.shape[1])).ravel()
        chances, clusters = scores.ravel(), np.repeat(clusters, scores.shape[1])
    positives, negatives = counts_by_threshold(labels, chances, clusters)
    rates, precisions = [], []
    for weights in draws(len(positives), resamples, seed):
        for hits, alarms in zip(weights @ positives, weights @ negatives, strict=True):
            if hits[-1] and alarms[-1]:  # else one outcome alone was drawn
                recall = hits / hits[-1]
                rates.append(np.interp(_GRID, alarms / alarms[-1], recall))
                answered = hits + alarms
                precision = np.divide(hits, answered, out=np.ones_like(hits), where=answered > 0)
                precisions.append(np.interp(_GRID, recall, precision))
    count = len(positives)
    return {"roc": _band("fpr", rates, count), "pr": _band("recall", precisions, count)}


def _band(name: str, curves: list[NDArray[np.float64]], clusters: int) -> list[dict[str, float]]:
    """Return the bounds over the curves of the resamplings; the first is the one as measured."""
    spread = np.clip(widened(np.array(curves), clusters), 0.0, 1.0)
    lower, upper = np.percentile(spread[1:] if len(spread) > 1 else spread, [5, 95], axis=0).tolist()
    return [
        {name: float(at), "lower_bound": low, "upper_bound": high}
        for at, low, high in zip(_GRID, lower, upper, strict=True)
    ]


def residuals(values: Outcomes, scores: Scores) -> list[dict[str, float]]:
    """Return a histogram of actual less predicted: middle and number of rows of bins of equal width."""
    counts, edges = np.histogram(values - scores, bins=_RESIDUAL_BINS)
    middles = (edges[:-1] + edges[1:]) / 2
    return [{"residual": float(middle), "rows": int(count)} for middle, count in zip(middles, counts, strict=True)]


def coverage(levels: Sequence[float], outcomes: Outcomes, scores: Scores) -> list[dict[str, float]]:
    """Return for each quantile its level, as `score`, and the share of outcomes up to it, as `rate`."""
    shares = (outcomes[:, None] <= scores).mean(axis=0).tolist()
    return [{"score": level, "rate": share, "rows": len(outcomes)} for level, share in zip(levels, shares, strict=True)]


def to_csv(name: str, rows: Sequence[dict[str, Any]]) -> bytes:
    """Return a CSV file with the columns `FIELDS[name]`; without rows it is the header alone."""
    text = io.StringIO()
    writer = csv.DictWriter(text, FIELDS[name], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _thin(columns: dict[str, Any]) -> list[dict[str, float]]:
    size = len(next(iter(columns.values())))
    picked = np.unique(np.linspace(0, size - 1, min(size, _POINTS)).astype(int))
    return [{name: float(values[index]) for name, values in columns.items()} for index in picked]
