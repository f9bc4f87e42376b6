"""Row checks: the declarations of the columns, row by row. Pure functions on the table of a month, as converted by `collect`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import polars as pl

from contract.schema.kinds import bounds
from contract.schema.tasks import TASKS
from pipelines.columns import unreadable
from pipelines.columns.kinds import KINDS
from pipelines.data import tables
from pipelines.params.params import WHOLE, Column, Data, TargetParams

REASONS = "__reasons__"


@dataclass(frozen=True)
class Split:
    """A month in two: the accepted rows, and the quarantined ones with a list of reasons in the column `REASONS`.

    Attributes:
        counts: rows by reason, such as `range:distance`; a row may have several.
    """

    accepted: pl.DataFrame
    quarantined: pl.DataFrame
    counts: dict[str, int]


def split(table: pl.DataFrame, data: Data, target: TargetParams, month: str) -> Split:
    """Split off the rows that break the declarations, in the order of the table; a column within its tolerance keeps its rows.

    Reasons: `ragged` (a line of a CSV file with more or fewer fields than its header), and with their column `type` (an unreadable
    value), `missing` (in a required column), `range`, `set`, `label`, `month` (the time lies in another one); `duplicate` (a copy,
    value by value, of an earlier row).
    """
    unread = unreadable.by_column(table)
    failed = {reason: bad for reason, bad in _failures(table, data, target, month, unread) if bad.any()}
    if not failed:
        return Split(_unmarked(table), table.clear(), {})
    marks = pl.DataFrame([bad.alias(reason) for reason, bad in failed.items()])
    reasons = marks.select(
        pl.concat_list(pl.when(pl.col(name)).then(pl.lit(name)) for name in marks.columns).list.drop_nulls()
    ).to_series()
    is_bad = reasons.list.len() > 0
    quarantined = table.with_columns(reasons.alias(REASONS)).filter(is_bad)
    counts = {reason: int(bad.sum()) for reason, bad in sorted(failed.items())}
    return Split(_unmarked(table.filter(~is_bad)), quarantined, counts)


def _unmarked(table: pl.DataFrame) -> pl.DataFrame:
    """Return the table without the marks of unreadable cells and ragged lines."""
    return table.drop(tables.MARKS, strict=False)


def _failures(
    table: pl.DataFrame, data: Data, target: TargetParams, month: str, unread: Mapping[str, pl.Series]
) -> Iterator[tuple[str, pl.Series]]:
    nothing = pl.Series([False] * table.height, dtype=pl.Boolean)
    if tables.RAGGED in table.columns:
        yield "ragged", table[tables.RAGGED].is_not_null()
    for name, column in data.columns.items():
        if name in table.columns:
            yield from _column(name, column, table[name], unread.get(name, nothing))
    if target.column in table.columns:
        yield f"type:{target.column}", unread.get(target.column, nothing)
        yield f"label:{target.column}", _unknown_label(table[target.column], target)
    time = data.time
    if time in table.columns and month != WHOLE and table[time].dtype == KINDS["timestamp"].dtype:
        start, end = tables.month_bounds(month)
        yield f"month:{time}", ~table[time].is_between(start, end, closed="left").fill_null(True)
    yield "duplicate", ~table.select(pl.struct(pl.all()).is_first_distinct()).to_series()


def _column(name: str, column: Column, values: pl.Series, unread: pl.Series) -> Iterator[tuple[str, pl.Series]]:
    if exceeds(count := int(unread.sum()), values.count() + count, column.tolerance):
        yield f"type:{name}", unread
    absent = values.is_null() & ~unread
    if column.must_be_there and exceeds(int(absent.sum()), len(values), column.missing_budget):
        yield f"missing:{name}", absent
    for reason, outside in _outside(column, values):
        if exceeds(int(outside.sum()), values.count(), column.tolerance):
            yield f"{reason}:{name}", outside


def exceeds(count: int, total: int, share: float) -> bool:
    """Return whether some of the total are a larger share. The product would not do: 0.29 * 100 is less than 29."""
    return total > 0 and count / total > share


def _outside(column: Column, values: pl.Series) -> Iterator[tuple[str, pl.Series]]:
    if column.values is not None and values.dtype == pl.String:
        yield "set", ~values.is_in(list(column.values)).fill_null(True)
    if column.is_number and values.dtype == KINDS[column.kind].dtype:
        yield "range", ~values.is_between(*bounds(column.minimum, column.maximum)).fill_null(True)


def _unknown_label(values: pl.Series, target: TargetParams) -> pl.Series:
    if TASKS[target.task].is_number:
        return values.is_null() & False
    return ~values.cast(pl.String).is_in(list(target.labels)).fill_null(True)
