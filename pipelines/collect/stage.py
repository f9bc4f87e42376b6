"""Stage `collect`: one month of the source becomes one immutable Parquet partition."""

from __future__ import annotations

import polars as pl

from contract.errors import UnavailableError
from pipelines import paths, tables
from pipelines.collect.files import month_of_files
from pipelines.collect.flights import month_of_flights
from pipelines.params import Column, Data, FlightsSource, Params


def run(params: Params, month: str) -> str:
    """Collect a month such as `2013-01`; returns a line about what was collected."""
    raw = _read_source(params.data, month)
    if raw.is_empty():
        raise UnavailableError(f"the source holds no rows of {month}; has the month been delivered?")
    table = conform(raw, params.data.columns, params.target.column)
    tables.write(table.sort(params.data.key, maintain_order=True), paths.partition(month))
    return f"{month}: {table.height:,} rows, {table[params.target.column].null_count():,} of them without a label"


def conform(table: pl.DataFrame, columns: dict[str, Column], target: str) -> pl.DataFrame:
    """The table with each declared column in the type of its kind.

    A column in which some value does not parse stays as it came, for `validate` to refuse it by name; so do missing and
    undeclared columns.
    """
    casts = {name: column.kind for name, column in columns.items() if name in table.columns}
    if target in table.columns:
        casts[target] = "category"
    return table.with_columns(_cast(table[name], kind) for name, kind in casts.items())


def _cast(values: pl.Series, kind: str) -> pl.Series:
    if kind == "timestamp":
        is_text = values.dtype == pl.String
        cast = (
            values.str.to_datetime(time_unit="us", strict=False)
            if is_text
            else values.cast(pl.Datetime("us"), strict=False)
        )
    elif kind == "number":
        cast = values.cast(pl.Float64, strict=False)
    elif kind == "boolean" and values.dtype == pl.String:
        words = {"true": True, "false": False, "1": True, "0": False, "yes": True, "no": False}
        cast = values.str.to_lowercase().replace_strict(words, default=None, return_dtype=pl.Boolean)
    elif kind == "boolean":
        cast = values.cast(pl.Boolean, strict=False)
    else:
        cast = values.cast(pl.String)
    return cast if cast.null_count() == values.null_count() else values


def _read_source(data: Data, month: str) -> pl.DataFrame:
    if isinstance(data.source, FlightsSource):
        return month_of_flights(month)
    return month_of_files(data.source, data.time, month)
