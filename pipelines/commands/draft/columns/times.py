"""Timestamps in columns of text: their formats, and candidates for the time of a row; pure functions."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from contract.errors import ConfigurationError
from contract.schema.schema import Field
from contract.schema.timestamps import CALENDAR_DAY, UNITS
from pipelines.columns import kinds
from pipelines.columns.identifiers import words

_DAYS = (
    "%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%d.%m.%Y", "%d.%m.%y", "%m/%d/%Y", "%d/%m/%Y", "%m/%d/%y", "%d/%m/%y", "%m-%d-%Y",
    "%d-%m-%Y", "%d-%b-%Y", "%d %b %Y", "%b %d, %Y", "%Y-%m-%d 00:00:00", "%Y %m %d",
)  # fmt: skip
_HOURS = ("%H:%M:%S", "%H:%M", "%H:%M:%S%.f", "%I:%M:%S %p", "%I:%M %p", "%H", "%H%M", "%H %M")
# Formats of digits alone match any number, so they are tried only for columns named as a time.
_DIGITS = ("%Y%m%d%H%M%S", "%Y%m%d%H%M")
_FORMATS = (*_DAYS, *(f"{day}{mark}{hour}" for day in _DAYS for mark in (" ", "T", ", ") for hour in _HOURS))
_ASKED_FORMATS = (*_FORMATS, *_DIGITS, *(f"%Y%m%d {hour}" for hour in _HOURS))
_YEARS = (1900, 2100)
_SAMPLE = 100
_HOUR_WORDS, _DATE_WORDS = {"hr", "hour", "time"}, {"date", "day", "time", "timestamp", "ts", "datetime"}


@dataclass
class Times:
    """The table with all timestamps in ISO 8601, and the conversions made.

    Attributes:
        time: the column with the time of a row, if one was named.
        combine: content of `data.source.combine`.
        parts: columns that became part of another one.
        units: `unit` of a timestamp written as a number, by column.
        swapped: format with day and month swapped, by column, if it reads every value as well.
    """

    table: pl.DataFrame
    time: str | None = None
    combine: dict[str, Any] = field(default_factory=dict)
    parts: list[str] = field(default_factory=list)
    units: dict[str, str] = field(default_factory=dict)
    swapped: dict[str, str] = field(default_factory=dict)


def find(table: pl.DataFrame, time: list[str], target: str) -> Times:
    """Parse the columns of `time`, together one timestamp, and every other column in a known format.

    Raises:
        ConfigurationError: no known format reads all values of `time`.
    """
    found = Times(table)
    if time:
        _read_chosen(found, time)
    for name in found.table.columns:
        if name not in (target, found.time) and _looks_like_a_time(table[name]):
            formats = formats_of(_joined(table, [name]), _FORMATS)
            if formats and not is_iso(table[name]):
                _combine(found, name, [name], formats)
    return found


def is_iso(column: pl.Series) -> bool:
    """Return whether there are values, and `collect` reads all of them as timestamps."""
    known = column.drop_nulls()
    return not known.is_empty() and moments(known).null_count() == 0


def moments(column: pl.Series, pattern: str | None = None) -> pl.Series:
    """Return the timestamps in a column of text, in ISO 8601 or a strftime format; null for other values."""
    return kinds.moments(column, Field(column.name, "timestamp", format=pattern)).struct.field("at")


def formats_of(values: pl.Series, formats: Iterable[str]) -> list[str]:
    """Return the formats that read every value as a time between 1900 and 2100."""
    known = values.drop_nulls().unique(maintain_order=True)
    if known.is_empty():
        return []
    return [pattern for pattern in formats if _reads(pattern, known.head(_SAMPLE)) and _reads(pattern, known)]


def suspects(table: pl.DataFrame, timestamps: list[str], numbers: list[str]) -> list[list[str]]:
    """Return candidates for the time of a row, each as one or several columns."""
    found = []
    for name in timestamps:
        days_only = not (moments(table[name]).dt.time().cast(pl.Int64) != 0).any()
        hours = [other for other in table.columns if other != name and _HOUR_WORDS & set(words(other))]
        pairs = [hour for hour in hours if days_only and _reads_together(table, [name, hour])]
        found.append([name, pairs[0]] if pairs else [name])
    calendar = [
        next((name for name in table.columns if words(name)[-1:] == [part]), "") for part in ("year", "month", "day")
    ]
    if all(calendar) and _reads_together(table, calendar):
        found.append(calendar)
    dated = [name for name in numbers if _DATE_WORDS & set(words(name))]
    found += [[name] for name in dated if _counted(table[name]) or formats_of(_joined(table, [name]), _DIGITS)]
    return found


def _read_chosen(found: Times, columns: list[str]) -> None:
    if len(columns) == 1 and is_iso(found.table[columns[0]]):
        found.time = columns[0]
        return
    if len(columns) == 1 and (counted := _counted(found.table[columns[0]])):
        found.time = columns[0]
        found.units[found.time], at = counted
        found.table = found.table.with_columns(_iso(at).alias(found.time))
        return
    formats = formats_of(_joined(found.table, columns), _ASKED_FORMATS)
    if not formats:
        raise ConfigurationError(
            f"--time: no known format reads every value of {' + '.join(columns)}; name the date first, then the time of day, or "
            "correct the values (docs/reference/params.md: data.source.combine)"
        )
    found.time = columns[0]
    if len(columns) > 1:
        found.time = next(name for name in ("at", "_".join(columns), "row_time") if name not in found.table.columns)
        found.parts = columns
    _combine(found, found.time, columns, formats)


def _combine(found: Times, name: str, columns: list[str], formats: list[str]) -> None:
    joined, pattern = _joined(found.table, columns), formats[0]
    found.table = found.table.with_columns(_iso(moments(joined, pattern)).alias(name))
    found.combine[name] = {"columns": columns, "format": pattern}
    swapped = re.sub("%[dm]", lambda match: "%m" if match[0] == "%d" else "%d", pattern)
    if swapped in formats and swapped != pattern:
        found.swapped[name] = swapped


def _counted(column: pl.Series) -> tuple[str, pl.Series] | None:
    """Return the unit and the times of numbers that all lie between 1985 (days: 1900) and 2100; None if no unit fits."""
    if not column.count() or not column.drop_nulls().str.contains(r"^\d+(\.0)?$").all():
        return None
    for unit in UNITS:
        read = kinds.convert(column, Field(column.name, "timestamp", unit=unit))
        low, high = _YEARS if unit == CALENDAR_DAY else (1985, _YEARS[1])
        if not read.problems.count() and read.values.drop_nulls().dt.year().is_between(low, high).all():
            return unit, read.values
    return None


def _iso(times: pl.Series) -> pl.Series:
    return times.dt.strftime("%Y-%m-%dT%H:%M:%S%.f")


def _reads_together(table: pl.DataFrame, columns: list[str]) -> bool:
    return bool(formats_of(_joined(table, columns), _ASKED_FORMATS))


def _joined(table: pl.DataFrame, columns: list[str]) -> pl.Series:
    return table.select(pl.concat_str(columns, separator=" ").alias("joined")).to_series()


def _looks_like_a_time(column: pl.Series) -> bool:
    first = column.drop_nulls().head(1)
    if first.is_empty() or kinds.convert(first, Field("", "number")).values.is_not_null().all():
        return False
    return bool(first.str.contains(r"^\w{1,9}[-/. ]\w{1,3}[-/., ]+\d{2,4}").all())


def _reads(pattern: str, values: pl.Series) -> bool:
    read = moments(values, pattern)
    if read.null_count():
        return False
    return bool(read.dt.year().is_between(*_YEARS).all())
