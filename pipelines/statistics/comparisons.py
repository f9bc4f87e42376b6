"""The paired comparison of two models on the same rows, with a bound from resampling clusters of rows; pure functions.

The measure is that of the objective (`pipelines.statistics.tasks`). A difference above 0 means that the first model is better.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.data.clusters import Clusters
from pipelines.statistics import bounds, measures
from pipelines.statistics.losses import log_losses
from pipelines.statistics.measures import Outcomes, Scores
from pipelines.statistics.tasks import Judgement

_FEW_CLUSTERS = 400  # for so many, the pairs between clusters fit into a small matrix
_CHUNK = 4_000_000  # weights drawn at a time


def differences(
    judgement: Judgement,
    outcomes: Outcomes,
    scores: Scores,
    others: Scores,
    clusters: Clusters,
    *,
    resamples: int,
    seed: int,
) -> NDArray[np.float64]:
    """Return the difference as measured, then values whose percentiles are its bounds, by resampling whole clusters, paired."""
    if judgement.by_auc:
        return areas(outcomes, scores, clusters, resamples=resamples, seed=seed, others=others)
    losses, other_losses = judgement.losses(outcomes, scores), judgement.losses(outcomes, others)
    return saved(losses, other_losses, clusters, resamples=resamples, seed=seed)


def headlines(
    judgement: Judgement, outcomes: Outcomes, scores: Scores, clusters: Clusters, *, resamples: int, seed: int
) -> NDArray[np.float64]:
    """Return the headline of one model as measured, then values whose percentiles are its bounds."""
    if judgement.by_auc:
        return areas(outcomes, scores, clusters, resamples=resamples, seed=seed)
    means = resampled_means(judgement.losses(outcomes, scores), clusters, resamples=resamples, seed=seed)
    return np.sqrt(np.maximum(means, 0.0)) if judgement.is_root else means


def log_loss_differences(
    judgement: Judgement,
    outcomes: Outcomes,
    scores: Scores,
    others: Scores,
    clusters: Clusters,
    *,
    resamples: int,
    seed: int,
) -> NDArray[np.float64]:
    """Return the differences as `differences` does, of the log loss, whichever measure the model is judged by."""
    losses, other_losses = (
        log_losses(outcomes, chances if judgement.form == "probabilities" else np.stack([1 - chances, chances], 1))
        for chances in (scores, others)
    )
    return saved(losses, other_losses, clusters, resamples=resamples, seed=seed)


def saved(
    losses: Scores, other_losses: Scores, clusters: Clusters, *, resamples: int, seed: int
) -> NDArray[np.float64]:
    """Return the share of the other losses that is saved, as measured, then values whose percentiles are its bounds."""
    by_row = saved_by_row(losses, other_losses)
    values = resampled_means(by_row, clusters, resamples=resamples, seed=seed, is_difference=True)
    return np.minimum(values, most_saved(losses))


def most_saved(losses: Scores) -> float:
    """Return the largest share of other losses that these can save: all of them, or endlessly more where some are gains, below 0."""
    return 1.0 if losses.min() >= 0 else np.inf


def saved_by_row(losses: Scores, other_losses: Scores) -> Scores:
    """Return numbers whose mean is the share of the other losses that is saved, and spreads as that share does.

    Rows that are hard are hard for both models: divided by the other model's loss on all rows, what is saved on them would look like a
    difference between the two. Losses may be costs, of which those below 0 are gains; the share is that of their size.

    Source: Cochran 1977, Sampling Techniques, 6.4 (the linearized variance of a ratio).
    """
    gains, whole = other_losses - losses, other_losses * np.sign(other_losses.mean())
    if not whole.any():
        whole = np.ones(len(losses))  # a perfect other model leaves nothing to save
    share = float(gains.mean()) / float(whole.mean())
    by_row: Scores = share + (gains - share * whole) / float(whole.mean())
    return by_row


def bounded(values: NDArray[np.float64]) -> dict[str, float]:
    """Return the first value as `figure`, and one-sided 95 % bounds, percentiles of the others."""
    # NaN: a resampling that drew one class alone has no ROC-AUC.
    lower, upper = np.nanpercentile(values[1:], [5, 95]).tolist()
    figure = float(values[0])
    # A calibration error is a sum of distances, which grows with noise: of few rows its bounds may lie below it.
    return {"figure": figure, "lower_bound": min(lower, figure), "upper_bound": max(upper, figure)}


def areas(
    labels: Outcomes,
    scores: Scores,
    clusters: Clusters,
    *,
    resamples: int,
    seed: int,
    others: Scores | None = None,
) -> NDArray[np.float64]:
    """Return ROC-AUC of `scores` (less that of `others`) as measured, then values whose percentiles are its bounds.

    Few clusters are counted by pairs between clusters, many by sorted rows; both give the same figure.
    """
    if int(clusters.max()) < _FEW_CLUSTERS:
        pairs = measures.concordance(labels, scores, clusters)
        if others is not None:
            pairs = pairs - measures.concordance(labels, others, clusters)
        return measures.auc_by_resampled_days(
            labels, pairs, clusters, resamples=resamples, seed=seed, is_difference=others is not None
        )
    found = []
    for drawn in draws(int(clusters.max()) + 1, resamples, seed):
        by_row = drawn[:, clusters]
        area = weighted_areas(labels, scores, by_row)
        found.append(area if others is None else area - weighted_areas(labels, others, by_row))
    return np.concatenate(found)


def weighted_areas(labels: Outcomes, scores: Scores, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ROC-AUC for each set of weights, an array of shape (sets, rows); ties count one half.

    It is NaN where all rows of one class have weight 0.
    """
    order = np.argsort(scores, kind="stable")
    starts = np.flatnonzero(np.diff(scores[order], prepend=-np.inf))  # of each run of equal scores
    sorted_weights, positive = weights[:, order], labels[order] == 1
    positives = np.add.reduceat(np.where(positive, sorted_weights, 0.0), starts, axis=1)
    negatives = np.add.reduceat(np.where(positive, 0.0, sorted_weights), starts, axis=1)
    below = np.cumsum(negatives, axis=1) - negatives / 2
    with np.errstate(invalid="ignore"):
        area: NDArray[np.float64] = (positives * below).sum(axis=1) / (positives.sum(axis=1) * negatives.sum(axis=1))
    return area


def resampled_means(
    values: Scores, clusters: Clusters, *, resamples: int, seed: int, is_difference: bool = False
) -> NDArray[np.float64]:
    """Return the mean of `values` as measured, then values whose percentiles are its bounds (`pipelines.statistics.bounds`)."""
    size = int(clusters.max()) + 1
    sums, counts = np.bincount(clusters, values, size), np.bincount(clusters, minlength=size)
    means, errors = resampled_ratios(sums, counts, resamples=resamples, seed=seed)
    return bounds.studentized(means, errors, size, is_difference=is_difference)


def resampled_ratios(
    sums: NDArray[Any], counts: NDArray[Any], *, resamples: int, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the sum over clusters of `sums` divided by that of `counts`, and its standard error: as measured, then of each resampling.

    Equal seeds draw the same clusters.
    """
    found = []
    for weights in draws(len(counts), resamples, seed):
        # Not `weights @ sums`: the last bits of a product of matrices depend on the processor.
        total = (weights * counts).sum(axis=1)
        ratios = (weights * sums).sum(axis=1) / total
        influences = (sums - ratios[:, None] * counts) / total[:, None]
        found.append((ratios, bounds.errors(weights, influences)))
    every, errors = (np.concatenate(each) for each in zip(*found, strict=True))
    return every, errors


def draws(size: int, resamples: int, seed: int) -> Iterator[NDArray[np.float64]]:
    """Yield the weight of each cluster: 1 as measured, then its number of draws in each resampling; a few resamplings at a time."""
    random = np.random.default_rng(seed)
    yield np.ones((1, size))
    rows = max(1, _CHUNK // size)
    for start in range(0, resamples, rows):
        count = min(rows, resamples - start)
        drawn = random.integers(0, size, (count, size))
        yield np.stack([np.bincount(draw, minlength=size) for draw in drawn]).astype(np.float64)
