"""Calibration of probabilities, with intervals from clusters of rows; pure functions on arrays without NaN.

`labels` are 0 or 1 of shape (rows,); `scores` probabilities of 1 of the same shape.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.schema.tasks import Form
from pipelines.data.clusters import Clusters
from pipelines.statistics import bounds, comparisons
from pipelines.statistics.measures import CALIBRATION_BINS, Labels, Outcomes, Scores
from pipelines.statistics.parts import Statistic, Values

_FARTHEST = 1e-6  # a probability nearer to 0 or 1 counts as this, so that its logit is a number
_TAIL = 0.025  # of each side of an interval
_STEPS = 50
_TOLERANCE = 1e-10
_NORMAL = 1.959963984540054  # the 97.5 % quantile of the normal distribution


def error_of(labels: Labels, scores: Scores, clusters: Clusters) -> Statistic:
    """Return the statistic of the calibration error, in the bins of all rows, so that each draw has the error of the same bins."""
    size = int(clusters.max()) + 1
    cells = np.bincount(_bins(scores) * size + clusters, scores - labels, CALIBRATION_BINS * size).reshape(-1, size)
    counts = np.bincount(clusters, minlength=size)

    def of(weights: Values) -> tuple[Values, Values]:
        drawn = weights[:, :size]
        every = np.zeros(weights.shape)
        with np.errstate(invalid="ignore", divide="ignore"):  # no row of a part is drawn
            total, distances, influences = (drawn * counts).sum(axis=1), np.zeros(len(drawn)), np.zeros(drawn.shape)
            for excess in cells:  # not a product of matrices: its last bits depend on the processor
                signed = (drawn * excess).sum(axis=1)
                distances += np.abs(signed)
                influences += np.sign(signed)[:, None] * excess
            found = distances / total
            every[:, :size] = (influences - found[:, None] * counts) / total[:, None]
        return found, every

    return Statistic(of, 0.0, 1.0)


def binary(form: Form, outcomes: Outcomes, scores: Scores) -> tuple[Labels, Scores] | None:
    """Return labels and probabilities to calibrate: of several labels, whether the most probable one was right; None of numbers."""
    if form == "probability":
        return outcomes, scores
    if form == "probabilities":
        return (scores.argmax(axis=1) == outcomes).astype(np.int8), scores.max(axis=1)
    return None


def _bins(scores: Scores) -> NDArray[np.int64]:
    """Return each row's bin of equal count, in ascending order of score, as `measures.calibration` forms them."""
    order = np.argsort(scores, kind="stable")
    bins = np.empty(len(scores), np.int64)
    for index, part in enumerate(np.array_split(order, CALIBRATION_BINS)):
        bins[part] = index
    return bins


def reliability(
    outcomes: Outcomes, scores: Scores, clusters: Clusters, *, resamples: int, seed: int, is_share: bool = True
) -> list[dict[str, Any]]:
    """Return the bins of equal count, ascending by score: `predicted` mean, and what was `observed` in it (see there)."""
    bins = _bins(scores)
    masks = [bins == index for index in np.unique(bins)]
    settings: dict[str, Any] = {"resamples": resamples, "seed": seed, "is_share": is_share}
    return [
        {"predicted": float(scores[rows].mean()), **observed(outcomes[rows], clusters[rows], **settings)}
        for rows in masks
    ]


def observed(
    outcomes: Outcomes, clusters: Clusters, *, resamples: int, seed: int, is_share: bool = True
) -> dict[str, Any]:
    """Return the `observed` share or mean of the outcomes with its pointwise 95 % interval.

    The bounds are percentiles of resamplings of the rows' own clusters; those of a share are at least as wide as of as many
    independent rows.

    Source: Bröcker, Smith 2007, Increasing the Reliability of Reliability Diagrams (resampling; here of clusters).
    """
    own, count = np.unique(clusters, return_inverse=True)[1], len(outcomes)
    means = comparisons.resampled_means(outcomes.astype(np.float64), own, resamples=resamples, seed=seed)
    if is_share:
        means = np.clip(bounds.at_least(means, bounds.exact(int(outcomes.sum()), count)), 0.0, 1.0)
    lower, upper = np.percentile(means[1:], [100 * _TAIL, 100 - 100 * _TAIL]).tolist()
    return {
        "observed": float(means[0]),
        "lower_bound": lower,
        "upper_bound": upper,
        "rows": count,
        "clusters": int(own.max()) + 1,
    }


def rescaled(scores: Scores, slope: float, intercept: float) -> Scores:
    """Return the probabilities with their log-odds rescaled: the logistic function of `slope` × log-odds + `intercept`.

    They have the single precision of served scores, as float64: the last bits of a logarithm depend on the processor.
    """
    chances = np.clip(scores, _FARTHEST, 1 - _FARTHEST)
    odds = slope * (np.log(chances) - np.log1p(-chances)) + intercept
    found: Scores = _chances(odds).astype(np.float32).astype(np.float64)
    return found


def recalibration(labels: Labels, scores: Scores, clusters: Clusters) -> dict[str, dict[str, Any]] | None:
    """Return `in_the_large` and `slope`, each with its 95 % interval; None where the labels or the scores are all alike.

    In the large: the intercept that the log-odds lack while their slope is 1; 0 is right, above 0 the outcomes are more frequent than
    predicted. Slope: that of a logistic regression of the labels on the log-odds; 1 is right, below 1 the scores are too extreme.
    The intervals are normal, with the variance of whole clusters (sandwich).

    Source: Cox 1958, Two Further Applications of a Model for Binary Regression; Van Calster et al. 2016, A calibration hierarchy for
    risk models was defined; Liang, Zeger 1986, Longitudinal data analysis using generalized linear models (the sandwich).
    """
    chances = np.clip(scores, _FARTHEST, 1 - _FARTHEST)
    odds = np.log(chances) - np.log1p(-chances)
    if labels.min() == labels.max() or odds.min() == odds.max():
        return None
    ones = np.ones((len(odds), 1))
    large = _logistic(ones, labels, odds, clusters)
    both = _logistic(np.column_stack([ones[:, 0], odds]), labels, np.zeros(len(odds)), clusters)
    if large is None or both is None:
        return None
    return {"in_the_large": _interval(*large, 0), "slope": _interval(*both, 1)}


def _chances(odds: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the logistic function; 0 where the exponential is beyond a double, as while labels are nearly separated."""
    with np.errstate(over="ignore"):
        chances: NDArray[np.float64] = 1 / (1 + np.exp(-odds))
    return chances


def _logistic(
    columns: NDArray[np.float64], labels: Labels, offset: NDArray[np.float64], clusters: Clusters
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Return coefficients and their standard errors by clusters; None where Newton's method finds none: the labels are separated."""
    found = np.zeros(columns.shape[1])
    for _ in range(_STEPS):
        chances = _chances(columns @ found + offset)
        information = columns.T @ (columns * (chances * (1 - chances))[:, None])
        try:
            step = np.linalg.solve(information, columns.T @ (labels - chances))
        except np.linalg.LinAlgError:
            return None
        found = found + step
        if np.abs(step).max() < _TOLERANCE:
            break
    else:
        return None
    size = int(clusters.max()) + 1
    parts = columns * (labels - chances)[:, None]
    by_cluster = np.stack([np.bincount(clusters, part, size) for part in parts.T], axis=1)
    inverse = np.linalg.inv(information)
    # The factor of few clusters. Source: Cameron, Miller 2015, A Practitioner's Guide to Cluster-Robust Inference, II.
    variance = inverse @ (by_cluster.T @ by_cluster) @ inverse * (size / max(1, size - 1))
    return found, np.sqrt(np.diag(variance))


def _interval(figures: NDArray[np.float64], spreads: NDArray[np.float64], index: int) -> dict[str, Any]:
    # Rounded: the last bits of products of matrices depend on the processor.
    figure, spread = float(figures[index]), _NORMAL * float(spreads[index])
    return {"figure": round(figure, 6), "interval": [round(figure - spread, 6), round(figure + spread, 6)]}
