"""One-sided tests from resamplings of clusters, and Holm's correction for their number; pure functions.

A test takes the spread of the resamplings as the standard error, and Student's t with one degree of freedom less than there are clusters:
the resamplings themselves would need tens of thousands to tell a p-value of 0.0005. Source: Cameron, Miller 2015, A Practitioner's
Guide to Cluster-Robust Inference, VI.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

ALPHA, POWER = 0.05, 0.8


def p_below(values: NDArray[np.float64], limit: float, clusters: int) -> float:
    """Return the p-value of the hypothesis that a figure is `limit` or more, against its being less.

    Args:
        values: the figure as measured, then of each resampling.
        clusters: number of clusters behind it, 2 or more.
    """
    from scipy.special import stdtr

    above, spread = float(values[0]) - limit, _spread(values)
    if spread == 0:
        return 0.0 if above < 0 else 1.0
    return _rounded(float(stdtr(clusters - 1, above / spread)))


def detectable(values: NDArray[np.float64], clusters: int) -> float:
    """Return the smallest difference that these rows show with power 0.8 in a one-sided test of 5 %.

    Source: Chow, Shao, Wang 2008, Sample Size Calculations in Clinical Research, 3.2.
    """
    from scipy.special import stdtrit

    return _rounded(float(stdtrit(clusters - 1, 1 - ALPHA) + stdtrit(clusters - 1, POWER)) * _spread(values))


def holm(p_values: Sequence[float]) -> list[float]:
    """Return the p-values corrected for their number: one of ALPHA or less is rejected, and any wrong rejection has probability ALPHA.

    Source: Holm 1979, A Simple Sequentially Rejective Multiple Test Procedure.
    """
    corrected, largest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[index]))
        corrected[index] = _rounded(largest)
    return corrected


def _spread(values: NDArray[np.float64]) -> float:
    return float(np.nanstd(values[1:], ddof=1))


def _rounded(number: float) -> float:
    return float(f"{number:.6g}")  # the last bits of Student's t depend on the platform
