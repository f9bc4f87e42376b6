"""Detection of numbers that are identifiers, by the column's name and values; pure functions.

A model that splits by an identifier memorises entities, so its hold-out looks better than the results on new ones.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

ID_WORDS = {"id", "ids", "uuid", "guid"}
FEW = 20  # distinct values: so few may be classes, whatever the column's name
_MANY = 1000  # distinct values: below, repeated odd amounts (fees, limits) look like identifiers
_RUN = 20  # neighbouring distinct values that share a density
# Measured: 0.56 on patients' numbers that come back, 0.97 to 1 on balances, loads, counts and distances.
_REPEATED = 0.8
_ROUND = 0.15  # largest share of rows that end in 0: a tenth for random digits, more where people round
_WHOLE = 0.99


def words(name: str) -> list[str]:
    """Return the words of a column's name in lower case, the same for `customerID`, `customer_id` and `Customer Id`."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+|\d+", name)]


def reason(name: str, values: NDArray[np.float64]) -> str | None:
    """Return why the column looks like an identifier, without any of its values; None if it does not.

    Args:
        values: of shape (rows,), float64; NaN and infinities are ignored.
    """
    known = np.sort(values[np.isfinite(values)])
    distinct, counts = np.unique(known, return_counts=True)
    if len(distinct) <= FEW:
        return None
    told = f"{len(distinct):,} different numbers in {len(known):,} rows"
    if words(name)[-1:] and words(name)[-1] in ID_WORDS:
        return f"{told}, and its name ends in {words(name)[-1]}"
    if np.mean(distinct % 1 == 0) < _WHOLE:
        return None
    if len(distinct) == len(known) and distinct[-1] - distinct[0] + 1 == len(known):
        return f"{told}, consecutive: it counts the rows"
    if len(distinct) >= _MANY and np.mean(known % 10 == 0) <= _ROUND and _distinctness(distinct, counts) < _REPEATED:
        return f"{told}, which repeat far more often than those of a measure with such a range"
    return None


def _distinctness(distinct: NDArray[np.float64], counts: NDArray[np.int64]) -> float:
    """Return the number of distinct whole numbers as a share of those expected for a smooth density.

    Within a run of neighbouring values, r rows spread evenly over w whole numbers hit w(1 - exp(-r/w)) of them.

    Source: mean of the occupancy problem, Feller, An Introduction to Probability Theory, volume 1, IV.2.
    """
    starts = np.arange(0, len(distinct), _RUN)
    ends = np.append(starts[1:], len(distinct)) - 1
    widths = np.maximum(distinct[ends] - distinct[starts] + 1, 1.0)
    rows = np.add.reduceat(counts, starts)
    expected = widths * -np.expm1(-rows / widths)
    return float(len(distinct) / expected.sum())
