"""Selection and renaming: from a source's table to the rows of one month under the names of `data.columns`; pure functions."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from functools import partial
from typing import NamedTuple

import polars as pl

from contract.errors import DataRejectedError, Problem
from contract.schema.schema import Field
from pipelines.columns import kinds
from pipelines.columns.casts import Converted
from pipelines.columns.declared import field_of
from pipelines.data import tables
from pipelines.params.params import Data
from pipelines.params.source import TableSource

_SHOWN = 30
_VALUE = re.compile(r"[+-]?[\d.]+|\d{4}-\d{2}-\d{2}.*")  # a number or a date is not a column's name
_READ = "__read__"
_MOMENT = pl.Struct({"at": pl.Datetime("us"), "has_offset": pl.Boolean})


class Rows(NamedTuple):
    """The rows of a month, values as the source has them, and the number of rows of each other month that were read beside them."""

    table: pl.DataFrame
    others: Mapping[str, int] = {}


def month_of(table: pl.LazyFrame, data: Data, source: TableSource, month: str) -> Rows:
    """Return the rows of a month; the month is filtered while the source is read.

    Raises:
        DataRejectedError: a named column is missing, or a row has no readable time and so belongs to no month.
    """
    table = _rename(table, data, source)
    schema = table.collect_schema()
    refuse_twins(schema)
    require(schema, dict.fromkeys(data.key, "data.key") | ({data.time: "data.time"} if data.time else {}))
    declared = dict.fromkeys(name for name in (*data.columns, *sorted(schema)) if name in schema)
    table = table.select(list(declared))
    if data.time is None:
        return Rows(_unmarked(table.collect(engine="streaming")))
    selected, others = _only_month(table, field_of(data.time, data), month)
    return Rows(_unmarked(selected), others)


def _unmarked(table: pl.DataFrame) -> pl.DataFrame:
    """Return the table without the mark of ragged lines if it has none."""
    has_ragged = tables.RAGGED in table.columns and table[tables.RAGGED].null_count() < table.height
    return table if has_ragged else table.drop(tables.RAGGED, strict=False)


def require(found: Collection[str], wanted: Mapping[str, str]) -> None:
    """Check that a source has the required columns.

    Args:
        found: names of its columns.
        wanted: required names, each with the key of params.yaml that has it.

    Raises:
        DataRejectedError: a column is missing.
    """
    if lost := [name for name in wanted if name not in found]:
        name, key = lost[0], wanted[lost[0]]
        raise DataRejectedError(
            f"the source has no column {name!r}, which {key} names{_meant(name, found)}; correct it, or use data.source.rename. "
            f"The source has {named(found)}",
            [Problem(None, name, f"is missing too{_meant(name, found)}") for name in lost[1:]],
        )


def refuse_twins(names: Collection[str]) -> None:
    """Raise DataRejectedError for two columns that differ by case alone: databases do not tell them apart."""
    by_letters: dict[str, str] = {}
    for name in names:
        if (other := by_letters.setdefault(name.lower(), name)) != name:
            raise DataRejectedError(
                f"the columns {other!r} and {name!r} of the source differ by case alone; drop one "
                "(data.source.drop), or rename it (data.source.rename)"
            )


def named(columns: Collection[str]) -> str:
    """Return the names of columns for a message; none if the header seems to be a row of values, which may be personal."""
    names = sorted(name for name in columns if name != tables.RAGGED)
    if any(map(_VALUE.fullmatch, names)):
        return (
            f"{len(names)} columns, but its first line looks like a row of values; it must be a header with their names"
        )
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(map(repr, names[:_SHOWN])) + more


def _meant(name: str, found: Collection[str]) -> str:
    by_letters = {other.lower(): other for other in found}
    close = get_close_matches(name.lower(), by_letters, n=1)
    return f" (did you mean {by_letters[close[0]]!r}?)" if close else ""


def in_order(table: pl.DataFrame, key: tuple[str, ...]) -> pl.DataFrame:
    """Return the rows by key, then by all other columns, whatever the order of delivery; equal rows become one.

    Without a key, a row delivered twice is indistinguishable from two equal ones: all stay, in the order of the source.
    """
    if not key:
        return table
    return table.unique(maintain_order=False).sort([*key, *sorted(set(table.columns) - set(key))])


def _rename(table: pl.LazyFrame, data: Data, source: TableSource) -> pl.LazyFrame:
    names = table.collect_schema().names()
    parts = [name for entry in source.combine.values() for name in entry.columns]
    for key, wanted in (("drop", source.drop), ("rename", source.rename), ("combine", parts)):
        require(names, dict.fromkeys(wanted, f"data.source.{key}"))
    combined = [_combined(table, field_of(name, data)).alias(name) for name in source.combine if name in data.columns]
    return table.with_columns(combined).drop(source.drop).rename(source.rename)


def _combined(table: pl.LazyFrame, field: Field) -> pl.Expr:
    """Return the texts of the parts of a timestamp, joined by a space; null where one of them is missing."""
    schema = table.collect_schema()
    for part in field.source:
        kinds.check(part, schema[part], Field(part, "category"))
    texts = partial(kinds.texts, field=field)
    return pl.concat_str(
        *(pl.col(part).map_batches(texts, return_dtype=pl.String(), is_elementwise=True) for part in field.source),
        separator=" ",
    )


def _only_month(table: pl.LazyFrame, field: Field, month: str) -> Rows:
    """Return the rows of the month, and how many each other month has; refuse a table in which any row has no time.

    The source is read once for both, and not held in memory. A ragged line without a time counts to the month of the line before it;
    `validate` splits it off there.
    """
    start, end = tables.month_bounds(month)
    schema = table.collect_schema()
    kinds.check(field.name, schema[field.name], field)
    moment = pl.col(field.name).map_batches(
        partial(kinds.moments, field=field), return_dtype=_MOMENT, is_elementwise=True
    )
    read = table.with_columns(moment.alias(_READ))
    at, has_offset = pl.col(_READ).struct.field("at"), pl.col(_READ).struct.field("has_offset")
    if tables.RAGGED in schema:
        near = at.forward_fill().backward_fill()
        at = pl.when(pl.col(tables.RAGGED).is_null()).then(at).otherwise(near)
    count = (
        read.select(at.dt.truncate("1mo").alias("month"), has_offset.alias("has_offset"))
        .group_by("month")
        .agg(rows=pl.len(), offsets=pl.col("has_offset").sum(), known=pl.col("has_offset").count())
        .with_columns(pl.col("month").dt.strftime("%Y-%m"))
    )
    rows = read.filter(at.is_between(start, end, closed="left")).drop(_READ)
    counts, selected = pl.collect_all([count, rows], engine="streaming")
    by_month = dict(counts.select("month", "rows").iter_rows())
    offsets, known = (int(counts[name].sum()) for name in ("offsets", "known"))
    height = sum(by_month.values())
    if lost := by_month.get(None):
        raise DataRejectedError(
            f"{lost} of {height} rows have no readable time in column {field.name!r} and belong to no month; give ISO 8601 times "
            "there, declare the column's unit if they are numbers, or name their format in data.source.combine"
        )
    refuse_mixed(field.name, offsets, known - offsets)
    others = {other: rows for other, rows in by_month.items() if other != month}
    later = sum(rows for other, rows in others.items() if other > month)
    refuse_hole(month, later if selected.is_empty() else 0)
    return Rows(selected, others)


def refuse_hole(month: str, later: int) -> None:
    """Raise DataRejectedError for a month without rows if the source has `later` ones: a retry would not help."""
    if later:
        raise DataRejectedError(
            f"the source holds no rows of {month}, but {later:,} of later months; deliver the month if it was lost, or remove {month} from "
            "data.months, which may have gaps"
        )


def refuse_mixed(name: str, with_offset: int, without: int) -> None:
    """Raise DataRejectedError for a column in which some times have an offset and some have none."""
    if with_offset and without:
        raise DataRejectedError(
            f"column {name!r}: {with_offset} times have an offset and {without} have none, so they may be hours apart; "
            "write all of them with an offset, or none"
        )


def refuse_foreign_times(name: str, converted: Converted) -> None:
    """Raise DataRejectedError for a timestamp of which no value could be read: its format is another one."""
    problems = converted.problems.drop_nulls()
    if len(problems) and converted.values.null_count() == len(converted.values):
        raise DataRejectedError(
            f"none of the {len(problems)} values of column {name!r} is a readable time: it {problems[0]}; name their format in "
            f'data.source.combine, such as {{{name}: {{columns: [{name}], format: "%d/%m/%Y %H:%M"}}}}'
        )
