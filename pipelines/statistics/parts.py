"""Figures of the hold-out and of its parts, resampled together: each draw of clusters serves all of them. Pure functions.

A statistic keeps sums by cluster, so that its cost does not grow with the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.data.clusters import Clusters
from pipelines.statistics import bounds, comparisons, measures
from pipelines.statistics.bounds import Distances
from pipelines.statistics.measures import Labels, Outcomes, Scores

Values = NDArray[np.float64]
# From weights of the clusters, of shape (sets, clusters), to the figure of each set, NaN where the drawn clusters have no row of its part,
# and to the influence of each cluster on it, of the shape of the weights; None where that is unknown.
Function = Callable[[Values], tuple[Values, Values | None]]

_BLOCKS = 200  # the standard error from so many has itself an error of 5 %
_FEWEST_DRAWS = (
    0.95  # share of the resamplings that must have the figure; else bounds would leave out the draws with few rows
)


@dataclass(frozen=True)
class Statistic:
    """A figure of some rows.

    Attributes:
        of: the figure and its influences.
        low, high: the smallest and the largest number that it can be.
        is_difference: whether it compares two models or two parts, so that its bounds are symmetric.
        exact: how far its bounds lie from it at least, as those of a share of as many independent rows.
    """

    of: Function
    low: float = -np.inf
    high: float = np.inf
    is_difference: bool = False
    exact: Distances | None = None

    def __sub__(self, other: Statistic) -> Statistic:
        """Return the statistic of the difference."""
        found = combined((self, other), lambda one, two: one - two, lambda *_: (1.0, -1.0))
        exact = bounds.apart(self.exact, other.exact) if self.exact and other.exact else None
        return Statistic(found.of, self.low - other.high, self.high - other.low, is_difference=True, exact=exact)


class Resampled(NamedTuple):
    """A figure as measured, then of each resampling.

    Attributes:
        figures: the figures, for their spread.
        bounds: the figure as measured, then values whose percentiles are its bounds: by bootstrap-t where influences are known.
    """

    figures: Values
    bounds: Values


def blocks(clusters: Clusters, seed: int) -> Clusters:
    """Return the blocks to draw in place of the clusters: of many clusters, each block holds several at random.

    Clusters are independent, so that blocks of them are too, and sums over 200 blocks serve every part.
    """
    count = int(clusters.max()) + 1
    if count <= _BLOCKS:
        return clusters
    placed: Clusters = np.random.default_rng(seed).permutation(np.arange(count) % _BLOCKS)[clusters]
    return placed


def resampled(
    statistics: Sequence[Statistic], clusters: Clusters, *, resamples: int, seed: int
) -> list[Resampled | None]:
    """Return each figure as measured, then once for each resampling; None where too many resamplings lack it."""
    found: list[list[tuple[Values, Values, int]]] = [[] for _ in statistics]
    for weights in comparisons.draws(int(clusters.max()) + 1, resamples, seed):
        for values, statistic in zip(found, statistics, strict=True):
            figures, influences = statistic.of(weights)
            if influences is None:
                values.append((figures, np.zeros(len(figures)), weights.shape[1]))
            else:
                values.append((figures, bounds.errors(weights, influences), int(np.count_nonzero(influences[0]))))
    return [_resampled(statistic, values) for statistic, values in zip(statistics, found, strict=True)]


def _resampled(statistic: Statistic, values: list[tuple[Values, Values, int]]) -> Resampled | None:
    figures, errors = (np.concatenate(each) for each in list(zip(*values, strict=True))[:2])
    known = np.isfinite(figures)
    if not known[0] or known.mean() < _FEWEST_DRAWS:
        return None
    behind = values[0][2]  # the clusters that move the figure as measured: a part may lie in few of them
    bounding = bounds.studentized(figures, errors, behind, is_difference=statistic.is_difference)
    if statistic.exact is not None:
        bounding = bounds.at_least(bounding, statistic.exact)
    return Resampled(figures, np.clip(bounding, statistic.low, statistic.high))


def combined(
    statistics: Sequence[Statistic], function: Callable[..., Values], slopes: Callable[..., Sequence[Values | float]]
) -> Statistic:
    """Return a smooth function of statistics of the same clusters.

    Args:
        slopes: its partial derivatives, from the same arguments.

    Source: Efron, Tibshirani 1993, An Introduction to the Bootstrap, 22.6 (the delta method by influences).
    """

    def of(weights: Values) -> tuple[Values, Values | None]:
        found = [statistic.of(weights) for statistic in statistics]
        figures, influences = [each[0] for each in found], [each[1] for each in found]
        with np.errstate(invalid="ignore", divide="ignore"):
            known = zip(slopes(*figures), influences, strict=True)
            parts = [np.reshape(slope, (-1, 1)) * each for slope, each in known if each is not None]
            return function(*figures), sum(parts[1:], parts[0]) if len(parts) == len(statistics) else None

    return Statistic(of)


def _ratio(sums: NDArray[Any], counts: NDArray[Any], clusters: Clusters) -> Function:
    """Return the function of the sum of `sums` divided by that of `counts`; both have the shape (rows,)."""

    def of(weights: Values) -> tuple[Values, Values]:
        above, below = (np.bincount(clusters, each, weights.shape[1]) for each in (sums, counts))
        with np.errstate(invalid="ignore", divide="ignore"):
            # Not a product of matrices: its last bits depend on the processor.
            total = (weights * below).sum(axis=1)
            values: Values = (weights * above).sum(axis=1) / total
            return values, (above - values[:, None] * below) / total[:, None]

    return of


def share(values: NDArray[np.bool_], clusters: Clusters, among: NDArray[np.bool_] | None = None) -> Statistic:
    """Return the statistic of the share of rows, all by default, for which `values` is true; none of these is beyond `among`."""
    counted = np.ones(len(values), np.bool_) if among is None else among
    rows = int(counted.sum())
    exact = bounds.exact(int(values.sum()), rows) if rows else None
    return Statistic(_ratio(values, counted, clusters), 0.0, 1.0, exact=exact)


def mean(
    values: NDArray[Any],
    clusters: Clusters,
    *,
    low: float = -np.inf,
    high: float = np.inf,
    is_difference: bool = False,
) -> Statistic:
    """Return the statistic of a mean over rows, each of which has a value from `low` to `high`."""
    return Statistic(_ratio(values, np.ones(len(values)), clusters), low, high, is_difference=is_difference)


def area(labels: Labels, scores: Scores, clusters: Clusters, others: Scores | None = None) -> Statistic:
    """Return the statistic of ROC-AUC, less that of `others`."""
    owners, places = np.unique(clusters, return_inverse=True)
    pairs = measures.concordance(labels, scores, places)
    if others is not None:
        pairs = pairs - measures.concordance(labels, others, places)
    counts = [np.bincount(places[labels == value], minlength=len(owners)).astype(np.float64) for value in (1, 0)]

    def of(weights: Values) -> tuple[Values, Values]:
        areas, influences = measures.areas_and_influences(weights[:, owners], pairs, *counts)
        every = np.zeros(weights.shape)
        every[:, owners] = influences
        return areas, every

    return Statistic(of, 0.0 if others is None else -1.0, 1.0, others is not None)


def has_both(outcomes: Outcomes, fewest: int) -> bool:
    """Return whether each of two labels has this many rows."""
    positives = int(outcomes.sum())
    return min(positives, len(outcomes) - positives) >= fewest
