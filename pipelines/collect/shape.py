"""From a table as its source writes it to the rows of one month under the names of `data.columns`; pure functions."""

from __future__ import annotations

import polars as pl

from contract.errors import DataRejectedError, Problem
from pipelines import tables
from pipelines.collect import times
from pipelines.params import Column, Data
from pipelines.params_source import TableSource


def month_of(table: pl.LazyFrame, data: Data, source: TableSource, month: str) -> pl.DataFrame:
    """The rows of a month, missing tokens as nulls; a month is filtered while the source is read.

    Raises:
        DataRejectedError: a named column is not there, or a row has no readable time and so belongs to no month.
    """
    table = _rename(table, source)
    schema = table.collect_schema()
    for key, name in (("time", data.time), *(("key", name) for name in data.key)):
        if name is not None and name not in schema:
            raise DataRejectedError(
                f"the source has no column {name!r}, which data.{key} names; correct it, or use data.source.rename",
                [Problem(None, column, "is there") for column in schema],
            )
    declared = dict.fromkeys(name for name in (*data.columns, *sorted(schema)) if name in schema)
    columns = [
        pl.col(name)
        if name == data.time
        else _without_tokens(name, schema[name], source.missing, data.columns.get(name))
        for name in declared
    ]
    if data.time is None:
        return table.select(columns).collect(engine="streaming")
    return _only_month(table, columns, data.time, month)


def in_order(table: pl.DataFrame, key: tuple[str, ...]) -> pl.DataFrame:
    """The rows by key, then by all other columns, so that no order of delivery shows; equal rows are one row.

    Without a key nothing tells a row that was delivered twice from two equal ones: all stay, in the order of the source.
    """
    if not key:
        return table
    return table.unique(maintain_order=False).sort([*key, *sorted(set(table.columns) - set(key))])


def _rename(table: pl.LazyFrame, source: TableSource) -> pl.LazyFrame:
    names = table.collect_schema().names()
    wanted = {*source.drop, *source.rename, *(name for entry in source.combine.values() for name in entry.columns)}
    if lost := sorted(wanted - set(names)):
        raise DataRejectedError(
            f"the source has no column {lost[0]!r}, which data.source (drop, rename or combine) names; "
            f"its columns are {', '.join(names)}"
        )
    combined = [
        times.parse_format(
            pl.concat_str(*(pl.col(part).cast(pl.String) for part in entry.columns), separator=" "), entry.format
        ).alias(name)
        for name, entry in source.combine.items()
    ]
    return table.with_columns(combined).drop(source.drop).rename(source.rename)


def _only_month(table: pl.LazyFrame, columns: list[pl.Expr], time: str, month: str) -> pl.DataFrame:
    """The rows of the month, unless any row of the table has no time: the source is read once for both, and not held."""
    start, end = tables.month_bounds(month)
    table = table.with_columns(times.parse(pl.col(time), table.collect_schema()[time]).alias(time))
    count = table.select(lost=pl.col(time).is_null().sum(), rows=pl.len())
    rows = table.filter(pl.col(time).is_between(start, end, closed="left")).select(columns)
    counts, selected = pl.collect_all([count, rows], engine="streaming")
    lost, height = counts.row(0)
    if lost:
        raise DataRejectedError(
            f"{lost} of {height} rows have no readable time in column {time!r} and belong to no month; give ISO 8601 "
            "times there, or name their format in data.source.combine"
        )
    return selected


def _without_tokens(name: str, dtype: pl.DataType, missing: tuple[str, ...], column: Column | None) -> pl.Expr:
    tokens = {*missing, *(column.missing_values if column else ())}
    value, numbers = pl.col(name), sorted({number for token in tokens if (number := _number(token)) is not None})
    is_missing = pl.lit(False)
    if dtype == pl.String:
        is_missing = value.str.strip_chars().is_in(sorted({"", *(token.strip() for token in tokens)}))
    if numbers and (dtype.is_numeric() or (dtype == pl.String and column is not None and column.kind == "number")):
        written = value.str.strip_chars() if dtype == pl.String else value  # -1 is -1.0, too
        is_missing |= written.cast(pl.Float64, strict=False).is_in(numbers).fill_null(False)
    return pl.when(~is_missing).then(value).alias(name)


def _number(token: str) -> float | None:
    try:
        return float(token)
    except ValueError:
        return None
