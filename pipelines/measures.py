"""Measures of a binary classifier, and the day-clustered comparison of two; pure functions on arrays.

`labels` are 0 or 1, `scores` probabilities of 1 in [0, 1], float; both of shape (rows,), no NaN.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

Labels = NDArray[np.int8]
Scores = NDArray[np.float64]

_BINS = 10


def measure(labels: Labels, scores: Scores) -> dict[str, float]:
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
    pairs = (weights @ positives) * (weights @ negatives)
    with np.errstate(invalid="ignore"):
        areas: Scores = np.einsum("bi,ij,bj->b", weights, concordant, weights, optimize=True) / pairs
    return areas


def auc_difference(
    labels: Labels, scores: Scores, others: Scores, days: NDArray[np.int64], *, resamples: int, seed: int
) -> dict[str, Any]:
    """ROC-AUC of `scores` minus that of `others`, with its one-sided 95 % lower bound from resampling whole days, paired."""
    net = concordance(labels, scores, days) - concordance(labels, others, days)
    differences = auc_by_resampled_days(labels, net, days, resamples=resamples, seed=seed)
    return {
        "difference": float(differences[0]),
        "lower_bound": float(np.nanpercentile(differences[1:], 5)),
        "days": int(days.max()) + 1,
    }


def number_days(times: pl.Series) -> NDArray[np.int64]:
    """The calendar day of each row, numbered from 0 without gaps: the unit of resampling."""
    return np.unique(times.dt.date().to_physical().to_numpy(), return_inverse=True)[1]
