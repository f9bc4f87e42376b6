"""Bounds of a figure from resamplings of few clusters of rows; pure functions.

`figures` are the figure as measured, then that of each resampling of whole clusters.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
# From levels between 0 and 1 to how far the quantiles of a figure lie from it: below 0 up to a level of one half, above 0 beyond.
Distances = Callable[[Values], Values]
_TWO_SIDED = 0.975  # the level of each side of a 95 % interval
_MIDDLE = 0.5


def studentized(figures: Values, errors: Values, clusters: int, *, is_difference: bool = False) -> Values:
    """Return the first figure, that as measured, then values whose percentiles are its bounds, by bootstrap-t.

    Percentiles of the resamplings themselves would be too tight, for a month has few days, and lopsided. Each is therefore measured in
    its own standard error. Bounds of a difference are symmetric, as two equally good models could change places: each value is
    there a second time, mirrored, and spread by `narrowness`. Those of a figure follow its skewness, of which a few clusters know little:
    they are spread by `widening`. Both factors are derived for percentiles of the resamplings and empirical here: in a ratio of two
    standard errors what few clusters do to each cancels. `python -m drills verdicts` counts how often the bounds hold with them.

    Args:
        errors: the standard error of each figure; where it is 0, as of a perfect model, or unknown, the figure stays as it is.
        clusters: number of clusters behind the figure.

    Source: Efron, Tibshirani 1993, An Introduction to the Bootstrap, 12.5; Hall 1988, On Symmetric Bootstrap Confidence Intervals.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        moved = figures[0] - errors[0] * (figures - figures[0]) / errors
    values: Values = np.where(errors > 0, moved, figures)
    if is_difference:
        return _spread(np.append(values, 2 * values[0] - values[1:]), narrowness(clusters))
    return widened(values, clusters)


def widened(figures: Values, clusters: int) -> Values:
    """Return the figures, as measured and of each resampling along the first axis, spread as so few clusters require.

    Source: Hesterberg 2015, What Teachers Should Know about the Bootstrap (expanded percentiles; here by a factor).
    """
    return _spread(figures, widening(clusters))


def _spread(figures: Values, factor: float) -> Values:
    spread: Values = figures[0] + factor * (figures - figures[0])
    return spread


def widening(clusters: int) -> float:
    """Return the factor by which percentiles of so few clusters are too narrow: Student's t for the normal, n - 1 for n."""
    from scipy.special import stdtrit

    if clusters < 2:  # no bound holds
        return 1.0
    factor = stdtrit(clusters - 1, _TWO_SIDED) / stdtrit(np.inf, _TWO_SIDED) * narrowness(clusters)
    return float(f"{factor:.6g}")  # the last bits of Student's t depend on the platform


def narrowness(clusters: int) -> float:
    """Return the factor by which percentiles of resampled clusters are too narrow: their variance divides by n, not by n - 1.

    Bootstrap-t has such a variance above and below, so there the factor is empirical.

    Source: Hesterberg 2004, Unbiasing the Bootstrap: Bootknife Sampling vs. Smoothing.
    """
    return float((clusters / (clusters - 1)) ** 0.5) if clusters > 1 else 1.0


def errors(weights: Values, influences: Values) -> Values:
    """Return the standard error of each set from the influences of the clusters, both of shape (sets, clusters)."""
    # NaN where a cluster that was not drawn has an endless influence, as on the root of a loss of 0.
    with np.errstate(invalid="ignore"):
        found: Values = np.sqrt((weights * influences**2).sum(axis=1))
    return found


def exact(successes: int, rows: int) -> Distances:
    """Return the distances of the exact bounds of a share of independent rows, 1 or more.

    Source: Clopper, Pearson 1934, The Use of Confidence or Fiducial Limits.
    """
    from scipy.special import betaincinv

    figure, others = successes / rows, rows - successes

    def distances(levels: Values) -> Values:
        lower = betaincinv(successes, others + 1, levels) if successes else np.zeros(len(levels))
        upper = betaincinv(successes + 1, others, levels) if others else np.ones(len(levels))
        found: Values = np.where(levels < _MIDDLE, lower, upper) - figure
        return found.round(9)  # the last bits of a beta distribution depend on the platform

    return distances


def apart(one: Distances, other: Distances) -> Distances:
    """Return the distances of the difference of two independent figures.

    Source: Newcombe 1998, Interval Estimation for the Difference between Independent Proportions (method 10, here of exact bounds).
    """

    def distances(levels: Values) -> Values:
        found: Values = np.sign(levels - _MIDDLE) * np.sqrt(one(levels) ** 2 + other(1 - levels) ** 2)
        return found

    return distances


def at_least(values: Values, distances: Distances) -> Values:
    """Return values whose percentiles lie at least so far from the figure, the first one; the others are in ascending order.

    The resamplings of a rare outcome know too little of it: of none they have none, of one hardly more.
    """
    known = np.sort(values[1:][np.isfinite(values[1:])])
    levels = np.linspace(0, 1, len(known))
    far = values[0] + distances(levels)
    return np.append(values[0], np.where(levels < _MIDDLE, np.minimum(known, far), np.maximum(known, far)))
