"""From a table as its source writes it to the rows of one month under the names of `data.columns`; pure functions."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from difflib import get_close_matches

import polars as pl

from contract.errors import DataRejectedError, Problem
from pipelines import tables
from pipelines.collect import times
from pipelines.params import Column, Data
from pipelines.params_source import TableSource

_SHOWN = 30
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


def month_of(table: pl.LazyFrame, data: Data, source: TableSource, month: str) -> pl.DataFrame:
    """The rows of a month, missing tokens as nulls; a month is filtered while the source is read.

    Raises:
        DataRejectedError: a named column is not there, or a row has no readable time and so belongs to no month.
    """
    table = _rename(table, source)
    schema = table.collect_schema()
    refuse_twins(schema)
    require(schema, dict.fromkeys(data.key, "data.key") | ({data.time: "data.time"} if data.time else {}))
    declared = dict.fromkeys(name for name in (*data.columns, *sorted(schema)) if name in schema)
    columns = [
        pl.col(name)
        if name == data.time
        else _without_tokens(name, schema[name], source.missing, data.columns.get(name))
        for name in declared
    ]
    if data.time is None:
        return _unmarked(table.select(columns).collect(engine="streaming"))
    return _unmarked(_only_month(table, columns, data.time, month))


def _unmarked(table: pl.DataFrame) -> pl.DataFrame:
    """Without the column of ragged lines where there are none."""
    has_ragged = tables.RAGGED in table.columns and table[tables.RAGGED].null_count() < table.height
    return table if has_ragged else table.drop(tables.RAGGED, strict=False)


def require(found: Collection[str], wanted: Mapping[str, str]) -> None:
    """Check that a source has the columns that are asked of it.

    Args:
        found: the names that it has.
        wanted: the names that it must have, each with the key of params.yaml that names it.

    Raises:
        DataRejectedError: one of them is not there.
    """
    if lost := [name for name in wanted if name not in found]:
        name, key = lost[0], wanted[lost[0]]
        raise DataRejectedError(
            f"the source has no column {name!r}, which {key} names{_meant(name, found)}; correct it, or use data.source.rename. "
            f"The source has {named(found)}",
            [Problem(None, name, f"is not there either{_meant(name, found)}") for name in lost[1:]],
        )


def refuse_twins(names: Collection[str]) -> None:
    """Raises DataRejectedError where two columns differ by the case of letters alone: databases do not tell them apart."""
    by_letters: dict[str, str] = {}
    for name in names:
        if (other := by_letters.setdefault(name.lower(), name)) != name:
            raise DataRejectedError(
                f"the columns {other!r} and {name!r} of the source differ by the case of letters alone; drop one "
                "(data.source.drop), or rename it (data.source.rename)"
            )


def refuse_unreadable(table: pl.DataFrame, data: Data) -> None:
    """Raises DataRejectedError where a timestamp is text of which no value is a time: in another format than ISO 8601."""
    for name, column in data.columns.items():
        known = table[name].drop_nulls()
        if column.kind != "timestamp" or known.dtype != pl.String or known.is_empty():
            continue
        if known.to_frame().select(times.parse(pl.col(name), known.dtype).is_null().all()).item():
            raise DataRejectedError(
                f"none of the {len(known)} values of column {name!r} is a time in ISO 8601; name their format in data.source.combine, "
                f'such as {{{name}: {{columns: [{name}], format: "%d/%m/%Y %H:%M"}}}}'
            )


def named(columns: Collection[str]) -> str:
    """The names of columns for a message; none of them where a row seems to stand in place of the header."""
    names = sorted(name for name in columns if name != tables.RAGGED)
    if any(_number(name) is not None or _DATE.match(name) for name in names):
        return f"{len(names)} columns, and its first line looks like a row: it must hold their names"
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(map(repr, names[:_SHOWN])) + more


def _meant(name: str, found: Collection[str]) -> str:
    by_letters = {other.lower(): other for other in found}
    close = get_close_matches(name.lower(), by_letters, n=1)
    return f" (did you mean {by_letters[close[0]]!r}?)" if close else ""


def in_order(table: pl.DataFrame, key: tuple[str, ...]) -> pl.DataFrame:
    """The rows by key, then by all other columns, so that no order of delivery shows; equal rows are one row.

    Without a key nothing tells a row that was delivered twice from two equal ones: all stay, in the order of the source.
    """
    if not key:
        return table
    return table.unique(maintain_order=False).sort([*key, *sorted(set(table.columns) - set(key))])


def _rename(table: pl.LazyFrame, source: TableSource) -> pl.LazyFrame:
    names = table.collect_schema().names()
    parts = [name for entry in source.combine.values() for name in entry.columns]
    for key, wanted in (("drop", source.drop), ("rename", source.rename), ("combine", parts)):
        require(names, dict.fromkeys(wanted, f"data.source.{key}"))
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
    ragged = pl.col(tables.RAGGED) if tables.RAGGED in table.collect_schema() else pl.lit(None, pl.String)
    count = table.select(
        lost=pl.col(time).is_null().sum(),
        rows=pl.len(),
        later=(pl.col(time) >= end).sum(),
        ragged=ragged.filter(pl.col(time).is_null()).drop_nulls().first(),
    )
    rows = table.filter(pl.col(time).is_between(start, end, closed="left")).select(columns)
    counts, selected = pl.collect_all([count, rows], engine="streaming")
    lost, height, later, place = counts.row(0)
    if lost:
        advice = (
            f"the line at {place} has more or fewer fields than the header: mend it"
            if place
            else "give ISO 8601 times there, or name their format in data.source.combine"
        )
        raise DataRejectedError(
            f"{lost} of {height} rows have no readable time in column {time!r} and belong to no month; {advice}"
        )
    refuse_hole(month, later if selected.is_empty() else 0)
    return selected


def refuse_hole(month: str, later: int) -> None:
    """Raises DataRejectedError for a month without rows where the source has `later` ones: it will not come by itself."""
    if later:
        raise DataRejectedError(
            f"the source holds no rows of {month}, and {later:,} of later months: was it lost, or were there none? Deliver it, or take "
            f"{month} off data.months, which may have holes"
        )


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
