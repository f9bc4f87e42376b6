"""Figures of many parts of the hold-out, resampled together: each draw of clusters serves all of them. Pure functions.

A statistic takes the weights of the clusters, of shape (sets, clusters), and returns a figure for each set, of shape (sets,) or with its
standard error (sets, 2); NaN where the drawn clusters have no row of its part. It keeps sums by cluster, so that its cost does not grow
with the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from pipelines.data.clusters import Clusters
from pipelines.statistics import comparisons, measures
from pipelines.statistics.measures import Labels, Outcomes, Scores

Values = NDArray[np.float64]
Statistic = Callable[[NDArray[np.float64]], Values]

_BLOCKS = 200  # the standard error from so many has itself an error of 5 %
_FEWEST_DRAWS = (
    0.95  # share of the resamplings that must have the figure; else bounds would leave out the draws with few rows
)


def blocks(clusters: Clusters, seed: int) -> Clusters:
    """Return the blocks to draw in place of the clusters: of many clusters, each block holds several at random.

    Clusters are independent, so that blocks of them are too, and sums over 200 blocks serve every part.
    """
    count = int(clusters.max()) + 1
    if count <= _BLOCKS:
        return clusters
    placed: Clusters = np.random.default_rng(seed).permutation(np.arange(count) % _BLOCKS)[clusters]
    return placed


def resampled(statistics: Sequence[Statistic], clusters: Clusters, *, resamples: int, seed: int) -> list[Values | None]:
    """Return each figure as measured, then once for each resampling; None where too many resamplings lack it."""
    found: list[list[Values]] = [[] for _ in statistics]
    for weights in comparisons.draws(int(clusters.max()) + 1, resamples, seed):
        for values, statistic in zip(found, statistics, strict=True):
            values.append(statistic(weights))
    return [values if _is_usable(values) else None for values in map(np.concatenate, found)]


def ratio(sums: NDArray[np.float64], counts: NDArray[np.float64], clusters: Clusters) -> Statistic:
    """Return the statistic of the sum of `sums` divided by that of `counts`; both have the shape (rows,)."""
    above, below = np.bincount(clusters, sums), np.bincount(clusters, counts)

    def of(weights: NDArray[np.float64]) -> Values:
        drawn = weights[:, : len(above)]
        with np.errstate(invalid="ignore", divide="ignore"):
            # Not a product of matrices: its last bits depend on the processor.
            values: Values = (drawn * above).sum(axis=1) / (drawn * below).sum(axis=1)
        return values

    return of


def mean(values: NDArray[np.float64], clusters: Clusters) -> Statistic:
    """Return the statistic of a mean over rows."""
    return ratio(values, np.ones(len(values)), clusters)


def area(labels: Labels, scores: Scores, clusters: Clusters, others: Scores | None = None) -> Statistic:
    """Return the statistic of ROC-AUC, less that of `others`, with its standard errors."""
    owners, places = np.unique(clusters, return_inverse=True)
    pairs = measures.concordance(labels, scores, places)
    if others is not None:
        pairs = pairs - measures.concordance(labels, others, places)
    counts = [np.bincount(places[labels == value], minlength=len(owners)).astype(np.float64) for value in (1, 0)]
    return lambda weights: np.stack(measures.areas_and_errors(weights[:, owners], pairs, *counts), axis=1)


def figures(values: Values) -> Values:
    """Return the figures without their standard errors, for their spread."""
    return values if values.ndim == 1 else values[:, 0]


def for_bounds(values: Values) -> Values:
    """Return the values whose percentiles are bounds: by bootstrap-t where there are standard errors."""
    return values if values.ndim == 1 else measures.studentized(*values.T)


def has_both(outcomes: Outcomes, fewest: int) -> bool:
    """Return whether each of two labels has this many rows."""
    positives = int(outcomes.sum())
    return min(positives, len(outcomes) - positives) >= fewest


def _is_usable(values: Values) -> bool:
    found = np.isfinite(figures(values))
    return bool(found[0] and found.mean() >= _FEWEST_DRAWS)
