"""Statistics of the rows in a window of time before each of many moments: pure functions on arrays.

A result depends on the rows in its window alone, to the last bit: not on their order, nor on the rows outside of it. So a partition
has the same history whether it is computed alone, in sequence, or with more of the past than it needs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

_LIMB = 24  # bits, so that a sum of 2^39 limbs is exact in 64
_MINUTE = 60_000_000  # microseconds


@dataclass(frozen=True)
class Rows:
    """Rows of a table, or their moments.

    Attributes:
        groups: number of each row's group.
        times: microseconds since 1970.
    """

    groups: Integers
    times: Integers


@dataclass(frozen=True)
class Known:
    """Rows that are known at a time, in the order of group, time and value.

    Attributes:
        times: of each row.
        values: of each row; without NaN.
    """

    times: Integers
    values: Floats
    _distinct: Integers
    _keys: Integers

    @classmethod
    def of(cls, rows: Rows, values: Floats) -> Known:
        """Return the rows in order."""
        distinct, ranks = np.unique(rows.times, return_inverse=True)
        keys = rows.groups * (len(distinct) + 1) + ranks
        order = np.lexsort((values, keys))
        return cls(rows.times[order], values[order], distinct, keys[order])

    def before(self, moments: Rows) -> Integers:
        """Return for each moment the number of rows in lower groups, and in its own group strictly before it."""
        ranks = np.searchsorted(self._distinct, moments.times)
        return np.searchsorted(self._keys, moments.groups * (len(self._distinct) + 1) + ranks)


@dataclass(frozen=True)
class Windows:
    """The window before each moment: a range of positions in the known rows.

    Attributes:
        first, end: positions of the first row in the window, and after the last one.
    """

    known: Known
    moments: Integers
    first: Integers
    end: Integers

    @property
    def counts(self) -> Integers:
        """The number of rows in each window."""
        return self.end - self.first


def windows(known: Known, moments: Rows, length: int) -> Windows:
    """Return the windows of `length` microseconds: from their start on, and strictly before the moment."""
    starts = Rows(moments.groups, moments.times - length)
    return Windows(known, moments.times, known.before(starts), known.before(moments))


def pending(opened: Rows, closed: Rows, moments: Rows) -> Floats:
    """Return for each moment the number of rows that were opened strictly before it, and not closed by then."""
    counts = (Known.of(rows, np.zeros(len(rows.times))).before(moments) for rows in (opened, closed))
    return np.subtract(*counts).astype(np.float64)


def count(windows: Windows) -> Floats:
    """Return the number of rows."""
    return windows.counts.astype(np.float64)


def total(windows: Windows) -> Floats:
    """Return the sum of the values, 0 of an empty window, from exact sums of their digits."""
    result, rest = np.zeros(len(windows.moments)), windows.known.values
    while peak := np.abs(rest).max(initial=0.0):
        # A multiple of `_LIMB` whatever the peak is, so that other rows do not change the rounding of a sum.
        scale = -(-int(np.frexp(peak)[1]) // _LIMB) * _LIMB - _LIMB
        limbs = np.trunc(np.ldexp(rest, -scale))
        rest = rest - np.ldexp(limbs, scale)
        sums = np.concatenate([[0], np.cumsum(limbs.astype(np.int64))])
        result += np.ldexp((sums[windows.end] - sums[windows.first]).astype(np.float64), scale)
    return result


def mean(windows: Windows) -> Floats:
    """Return the mean of the values; NaN of an empty window."""
    with np.errstate(invalid="ignore"):
        return total(windows) / windows.counts


def smallest(windows: Windows) -> Floats:
    """Return the smallest value; NaN of an empty window."""
    return _smallest(windows, windows.known.values)


def largest(windows: Windows) -> Floats:
    """Return the largest value; NaN of an empty window."""
    return -_smallest(windows, -windows.known.values)


def last(windows: Windows) -> Floats:
    """Return the value that became known last, the largest of several at once; NaN of an empty window."""
    return _of_last(windows, windows.known.values)


def age(windows: Windows) -> Floats:
    """Return the minutes since a row became known last; NaN of an empty window."""
    return (windows.moments - _of_last(windows, windows.known.times)) / _MINUTE


# `params.features.history.STATISTICS` describes them, and `pending`, which has no window of known rows.
STATISTICS: dict[str, Callable[[Windows], Floats]] = {
    "count": count,
    "sum": total,
    "mean": mean,
    "min": smallest,
    "max": largest,
    "last": last,
    "age": age,
}


def _smallest(windows: Windows, values: Floats) -> Floats:
    found, counts = np.full(len(windows.moments), np.nan), windows.counts
    width = 1  # `values` has the smallest of so many neighbours, from each position on
    while width <= counts.max(initial=0):
        # Two runs of this width, which may overlap, make up any window of up to twice the width.
        here = (counts >= width) & (counts < 2 * width)
        found[here] = np.minimum(values[windows.first[here]], values[windows.end[here] - width])
        values, width = np.minimum(values[:-width], values[width:]), 2 * width
    return found


def _of_last(windows: Windows, values: NDArray[np.float64] | Integers) -> Floats:
    found, some = np.full(len(windows.moments), np.nan), windows.counts > 0
    found[some] = values[windows.end[some] - 1]
    return found
