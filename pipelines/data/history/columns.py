"""The history of a partition's rows, one column a feature: a pure function of them and the rows of earlier partitions.

A row is known at its `known_at`, but not before its own time. So a row never counts in its own history, nor a row of a later partition
in that of an earlier one: a partition's history needs no partition after it.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from contract.schema.kinds import LARGEST, bounds
from pipelines.data import tables
from pipelines.data.history.windows import STATISTICS, Floats, Integers, Known, Rows, pending, windows
from pipelines.params.features.history import HistoryFeature, period
from pipelines.params.params import Data, TargetParams

_MICROSECOND = timedelta(microseconds=1)
_NEVER = 1 << 61  # microseconds; the year 9999 is at 2^58
Mask = NDArray[np.bool_]


class _Times(NamedTuple):
    """Microseconds since 1970 of each row; those of a row without a time mean nothing."""

    at: Integers
    is_known: Mask


class _Groups(NamedTuple):
    """The number of each row's group; that of a row without one means nothing."""

    of: Integers
    is_known: Mask


def needed(features: Mapping[str, HistoryFeature], data: Data) -> list[str]:
    """Return the columns that the features read, in a fixed order."""
    return sorted({data.clock, *(column for feature in features.values() for column in feature.columns())})


def reach(features: Mapping[str, HistoryFeature], first: datetime) -> datetime:
    """Return the time from which on rows may be in a window of a row at `first`."""
    return first - max(period(feature.window) + period(feature.horizon) for feature in features.values())


def compute(
    rows: pl.DataFrame,
    earlier: pl.DataFrame,
    features: Mapping[str, HistoryFeature],
    data: Data,
    target: TargetParams,
) -> pl.DataFrame:
    """Return the history of the rows, in their order: Float64, null where missing.

    Args:
        earlier: the rows of earlier partitions that are in reach; more of them change nothing.
    """
    table = pl.concat([earlier.select(needed(features, data)), rows.select(needed(features, data))])
    clock = _times(table[data.clock])
    groups = {by: _groups(table, by) for by in {feature.by for feature in features.values()}}

    def made(name: str) -> pl.Series:
        feature = features[name]
        values = _values(table, feature.value, data, target)
        history = _column(feature, groups[feature.by], clock, _times(table[feature.known_at]), values, earlier.height)
        return pl.Series(name, history, dtype=pl.Float64).fill_nan(None)

    # NumPy sorts and searches without Python's lock; more threads would hold more columns in memory.
    with ThreadPoolExecutor(2) as threads:
        return pl.DataFrame(list(threads.map(made, features)))


def _column(
    feature: HistoryFeature, groups: _Groups, clock: _Times, known_at: _Times, values: Floats, start: int
) -> Floats:
    """Return the history of the rows from `start` on; all arrays have an entry for each row."""
    length, horizon = (period(text) // _MICROSECOND for text in (feature.window, feature.horizon))
    is_placed = groups.is_known & clock.is_known
    moments = Rows(groups.of[start:], clock.at[start:] - horizon)
    known = np.where(known_at.is_known, np.maximum(known_at.at, clock.at), _NEVER)
    # Rows that no window reaches are left out, which is faster.
    oldest = moments.times.min(initial=_NEVER) - length
    if feature.statistic == "pending":
        counts = is_placed & (clock.at >= oldest)
        closed = np.minimum(known, clock.at + length)
        opened = Rows(groups.of[counts], clock.at[counts])
        found = pending(opened, Rows(groups.of[counts], closed[counts]), moments)
    else:
        counts = is_placed & (known >= oldest) & (known < _NEVER) & ~np.isnan(values)
        entered = Known.of(Rows(groups.of[counts], known[counts]), values[counts])
        found = STATISTICS[feature.statistic](windows(entered, moments, length))
    # A float32, which the model reads, would be infinite beyond.
    return np.where(is_placed[start:] & (np.abs(found) <= LARGEST), found, np.nan)


def _groups(table: pl.DataFrame, by: tuple[str, ...]) -> _Groups:
    """Return the groups of rows that share their values in the columns `by`."""
    if not by:
        return _Groups(np.zeros(table.height, np.int64), np.ones(table.height, np.bool_))
    numbers = table.select(by).unique(maintain_order=True).with_row_index("__group__")
    found = table.select(by).join(numbers, on=by, how="left", nulls_equal=True, maintain_order="left")
    has_all = table.select(pl.all_horizontal(pl.col(by).is_not_null())).to_series()
    return _Groups(found["__group__"].cast(pl.Int64).to_numpy(), has_all.to_numpy())


def _times(column: pl.Series) -> _Times:
    microseconds = column.cast(pl.Datetime("us")).to_physical()
    return _Times(microseconds.fill_null(0).to_numpy(), column.is_not_null().to_numpy())


def _values(table: pl.DataFrame, name: str | None, data: Data, target: TargetParams) -> Floats:
    """Return the values, NaN where missing; one that a request would be refused for is missing, as in all features."""
    if name is None:
        return np.zeros(table.height)
    if name == target.column:
        return tables.outcomes(table, target).cast(pl.Float64).fill_null(np.nan).to_numpy()
    column, values = data.columns[name], table[name].cast(pl.Float64).fill_null(np.nan).to_numpy()
    low, high = bounds(column.minimum, column.maximum)
    return np.where((values >= low) & (values <= high), values, np.nan)
