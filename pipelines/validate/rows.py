"""Row checks: what the columns declare, row by row. Pure functions on the table of a month."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from pipelines import tables
from pipelines.params import WHOLE, Column, Params, TargetParams

REASONS = "__reasons__"
_DTYPES: dict[str, type[pl.DataType] | pl.DataType] = {
    "number": pl.Float64,
    "boolean": pl.Boolean,
    "category": pl.String,
    "identifier": pl.String,
    "timestamp": pl.Datetime("us"),
}


@dataclass(frozen=True)
class Split:
    """A month in two: the rows that go on, and those split off, with a list of reasons in the column `REASONS`.

    Attributes:
        counts: rows by reason, such as `range:distance`; a row may have several.
    """

    accepted: pl.DataFrame
    quarantined: pl.DataFrame
    counts: dict[str, int]


def split(table: pl.DataFrame, params: Params, month: str) -> Split:
    """Split off the rows that break what is declared, in the order of the table. A column within its own tolerance keeps its rows.

    Reasons: `ragged` (a line of a CSV file with more or fewer fields than its header), and with their column `type`, `missing` (in a
    required one), `range`, `set`, `label`, `month` (the time lies in another one); `duplicate` (a copy, value by value, of an earlier row).
    """
    failed = {reason: bad for reason, bad in _failures(table, params, month) if bad.any()}
    if not failed:
        return Split(table, table.clear(), {})
    marks = pl.DataFrame([bad.alias(reason) for reason, bad in failed.items()])
    reasons = marks.select(
        pl.concat_list(pl.when(pl.col(name)).then(pl.lit(name)) for name in marks.columns).list.drop_nulls()
    ).to_series()
    is_bad = reasons.list.len() > 0
    quarantined = table.with_columns(reasons.alias(REASONS)).filter(is_bad)
    counts = {reason: int(bad.sum()) for reason, bad in sorted(failed.items())}
    return Split(_typed(table.filter(~is_bad).drop(tables.RAGGED, strict=False), params), quarantined, counts)


def _failures(table: pl.DataFrame, params: Params, month: str) -> Iterator[tuple[str, pl.Series]]:
    if tables.RAGGED in table.columns:
        yield "ragged", table[tables.RAGGED].is_not_null()
    for name, column in params.data.columns.items():
        if name in table.columns:
            yield from _column(name, column, table[name])
    if params.target.column in table.columns:
        yield f"label:{params.target.column}", _unknown_label(table[params.target.column], params.target)
    time = params.data.time
    if time in table.columns and month != WHOLE and table[time].dtype == _DTYPES["timestamp"]:
        start, end = tables.month_bounds(month)
        yield f"month:{time}", ~table[time].is_between(start, end, closed="left").fill_null(True)
    yield "duplicate", ~table.select(pl.struct(pl.all()).is_first_distinct()).to_series()


def _column(name: str, column: Column, raw: pl.Series) -> Iterator[tuple[str, pl.Series]]:
    values = parse(raw, column.kind)
    unparsed = values.is_null() & raw.is_not_null()
    yield f"type:{name}", unparsed & ~_is_nan(raw)
    absent = values.is_null() & (raw.is_null() | _is_nan(raw))
    if column.required and absent.sum() > column.missing_budget * len(raw):
        yield f"missing:{name}", absent
    for reason, outside in _outside(column, values):
        if outside.sum() > column.tolerance * values.count():
            yield f"{reason}:{name}", outside


def _outside(column: Column, values: pl.Series) -> Iterator[tuple[str, pl.Series]]:
    if column.values is not None and values.dtype == pl.String:
        yield "set", ~values.is_in(list(column.values)).fill_null(True)
    if column.kind == "number":
        low = values < column.minimum if column.minimum is not None else values.is_null() & False
        high = values > column.maximum if column.maximum is not None else values.is_null() & False
        yield "range", (low | high).fill_null(False)


def _unknown_label(values: pl.Series, target: TargetParams) -> pl.Series:
    if target.task == "regression":
        return parse(values, "number").is_null() & values.is_not_null()
    return ~values.cast(pl.String).is_in(list(target.labels)).fill_null(True)


def parse(values: pl.Series, kind: str) -> pl.Series:
    """The values in the type of their kind; null for what does not parse, and for NaN."""
    dtype = _DTYPES[kind]
    if kind == "number":
        return values.cast(pl.Float64, strict=False).fill_nan(None)
    if values.dtype == dtype:
        return values
    if kind == "timestamp" and values.dtype == pl.String:
        return values.str.to_datetime(time_unit="us", strict=False)
    if kind == "boolean" and values.dtype == pl.String:
        words = {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}
        return values.str.to_lowercase().replace_strict(words, default=None, return_dtype=pl.Boolean)
    return values.cast(dtype, strict=False)


def _is_nan(values: pl.Series) -> pl.Series:
    return values.is_nan().fill_null(False) if values.dtype.is_float() else values.is_null() & False


def _typed(table: pl.DataFrame, params: Params) -> pl.DataFrame:
    """Without the rows that did not parse, every column has the type of its kind."""
    kinds = {name: column.kind for name, column in params.data.columns.items() if name in table.columns}
    if params.target.task == "regression" and params.target.column in table.columns:
        kinds[params.target.column] = "number"
    return table.with_columns(
        parse(table[name], kind) for name, kind in kinds.items() if table[name].dtype != _DTYPES[kind]
    )
