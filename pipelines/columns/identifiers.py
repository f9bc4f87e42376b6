"""Numbers that name a thing instead of measuring one, by the column's name and by its values; pure functions.

A model that splits by such a number remembers who, and its hold-out looks better than any new entity will.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

ID_WORDS = {"id", "ids", "uuid", "guid"}
FEW = 20  # values: as few may be classes, whatever the column is called
_MANY = 1000  # values, below which repeated odd amounts (fees, limits) look like identifiers
_RUN = 20  # distinct values, side by side, that share a density
# Measured: 0.56 on patients' numbers that come back, 0.97 to 1 on balances, loads, counts and distances.
_REPEATED = 0.8
_ROUND = 0.15  # of the rows may end in 0; one in ten does where digits mean nothing, more where people round
_WHOLE = 0.99


def words(name: str) -> list[str]:
    """The words of a column's name, lower case: `customerID`, `customer_id` and `Customer Id` have the same."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[^\W\d_A-Z]+|\d+", name)]


def reason(name: str, values: NDArray[np.float64]) -> str | None:
    """Why the column looks like an identifier, in words without any value of it; None where it does not.

    Args:
        values: of shape (rows,), float64; NaN and infinities are left out.
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
        return f"{told}, one after the other: it counts the rows"
    if len(distinct) >= _MANY and np.mean(known % 10 == 0) <= _ROUND and _distinctness(distinct, counts) < _REPEATED:
        return f"{told}, of which far more come back than of a measure that is spread so wide"
    return None


def _distinctness(distinct: NDArray[np.float64], counts: NDArray[np.int64]) -> float:
    """How many different whole numbers there are, as a share of how many a smooth density would give.

    Within a run of values that lie side by side, rows that fall on any whole number alike hit w(1 - exp(-r/w)) of the w numbers:
    the mean of the occupancy problem (Feller, An Introduction to Probability Theory, volume 1, IV.2).
    """
    starts = np.arange(0, len(distinct), _RUN)
    ends = np.append(starts[1:], len(distinct)) - 1
    widths = np.maximum(distinct[ends] - distinct[starts] + 1, 1.0)
    rows = np.add.reduceat(counts, starts)
    expected = widths * -np.expm1(-rows / widths)
    return float(len(distinct) / expected.sum())
