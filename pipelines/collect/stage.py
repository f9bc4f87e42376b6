"""Stage `collect`: one month of the source becomes one immutable Parquet partition."""

from __future__ import annotations

import polars as pl

from contract.errors import UnavailableError
from pipelines import paths, tables
from pipelines.collect import shape, sources, times
from pipelines.params import Column, FlightsSource, Params, TargetParams

_SHOWN = 10


def run(params: Params, month: str) -> str:
    """Collect a month such as `2013-01`, or `all` of a table without time; returns a line about what was collected."""
    data, target = params.data, params.target
    raw = sources.read(data, month)
    shape.require(raw.columns, dict.fromkeys(data.columns, "data.columns") | {target.column: "target.column"})
    if raw.is_empty():
        raise UnavailableError(f"the source holds no rows of {month}; has the month been delivered?")
    shape.refuse_unreadable(raw, data)
    decimal = "." if isinstance(data.source, FlightsSource) else data.source.decimal
    table = shape.in_order(conform(raw, data.columns, target, decimal), data.key)
    tables.write(table, paths.partition(month))
    twice = raw.height - table.height
    unlabelled = table[target.column].null_count()
    return (
        f"{month}: {table.height:,} rows, {unlabelled:,} of them without a label"
        + (f"; {twice:,} rows were there twice, and are once now" if twice else "")
        + _ragged(table)
    )


def _ragged(table: pl.DataFrame) -> str:
    if tables.RAGGED not in table.columns:
        return ""
    places = table[tables.RAGGED].drop_nulls()
    shown = ", ".join(places.head(_SHOWN)) + (", …" if len(places) > _SHOWN else "")
    return f"; {len(places):,} lines have more or fewer fields than the header, for `validate` to split off: {shown}"


def conform(table: pl.DataFrame, columns: dict[str, Column], target: TargetParams, decimal: str = ".") -> pl.DataFrame:
    """The table with each declared column in the type of its kind; `decimal` is the sign in numbers that are text.

    A column in which some value does not parse stays as it came, for `validate` to refuse it by name; so do missing and
    undeclared columns.
    """
    kinds = {name: column.kind for name, column in columns.items()}
    kinds[target.column] = "number" if target.task == "regression" else "category"
    return table.with_columns(
        _cast(table[name], kind, decimal) for name, kind in kinds.items() if name in table.columns
    )


def _cast(values: pl.Series, kind: str, decimal: str) -> pl.Series:
    is_text = values.dtype == pl.String
    if kind == "timestamp":
        cast = values.to_frame().select(times.parse(pl.col(values.name), values.dtype)).to_series()
    elif kind == "number":
        numbers = _decimal_point(values.str.strip_chars(), decimal) if is_text else values
        cast = numbers.cast(pl.Float64, strict=False) + 0.0  # one zero: -0 would tell equal rows apart
    elif kind == "boolean" and is_text:
        words = {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}
        lowered = values.str.strip_chars().str.to_lowercase()
        cast = lowered.replace_strict(words, default=None, return_dtype=pl.Boolean)
    elif kind == "boolean":
        cast = values.cast(pl.Boolean, strict=False)
    else:
        cast = values.cast(pl.String)
    return cast if cast.null_count() == values.null_count() else values


def _decimal_point(values: pl.Series, decimal: str) -> pl.Series:
    """With a decimal comma, a point would be one for thousands or a mistake: such a value is no number."""
    if decimal == ".":
        return values
    value = pl.col(values.name)
    return (
        values.to_frame()
        .select(pl.when(~value.str.contains(".", literal=True)).then(value.str.replace(",", ".", literal=True)))
        .to_series()
    )
