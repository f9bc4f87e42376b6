"""Casts of whole columns, equal to those of `contract.schema.kinds` value by value; a test compares them."""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

from contract.schema import kinds, timestamps
from contract.schema.schema import Field
from contract.schema.texts import missing_numbers

DURATION_UNITS = {"us": 1, "ms": 1_000, "s": 1_000_000, "min": 60_000_000, "h": 3_600_000_000, "d": 86_400_000_000}
_PER_SECOND = {"ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_FIRST_S, _END_S = -62_135_596_800, 253_402_300_800  # of the year 1, and of the year 10000
# Years from 1000 and seconds below 60: Python has no year 0 and no second 60.
_PLAIN_TIME = r"^[1-9][0-9]{3}-[0-9]{2}-[0-9]{2}[T ][0-9]{2}:[0-9]{2}:[0-5][0-9]$"
_PLAIN_NUMBER = r"^-?[0-9]{1,15}(?:\.[0-9]{1,20})?$"
_YEARS = "must be a timestamp in the years 1 to 9999"


class Converted(NamedTuple):
    """A converted column.

    Attributes:
        values: canonical values, null where missing or unreadable.
        problems: the reason for each unreadable value, else null.
        has_offset: true for timestamps written with an offset, null where unknown.
    """

    values: pl.Series
    problems: pl.Series
    has_offset: pl.Series


def numbers(values: pl.Series, field: Field) -> Converted:
    """Convert numbers and durations to float64; NaN is missing, and numbers outside float32 are unreadable."""
    found = (
        _counted(values, DURATION_UNITS[str(field.unit)])
        if isinstance(values.dtype, pl.Duration)
        else values.cast(pl.Float64)
    )
    known = _known(found, field)
    return _judged(known, known.is_between(-kinds.LARGEST, kinds.LARGEST), kinds.NOT_USABLE)


def _counted(durations: pl.Series, unit_us: int) -> pl.Series:
    counted = durations.to_physical().cast(pl.Float64)
    per_ms = {"ms": 1, "us": 1_000, "ns": 1_000_000}[durations.dtype.time_unit]  # type: ignore[attr-defined]
    return counted * 1_000 / (unit_us * per_ms)


def moments(values: pl.Series, field: Field) -> Converted:
    """Convert days and timestamps to microseconds, in UTC if they have a zone; years outside 1 to 9999 are unreadable."""
    dtype, counted = values.dtype, values.to_physical()
    if isinstance(dtype, pl.Datetime):
        second = _PER_SECOND[dtype.time_unit]
        # Nanoseconds end in the year 2262.
        is_usable = (
            counted.is_between(-(2**63), 2**63 - 1)
            if second == 10**9
            else counted.is_between(_FIRST_S * second, _END_S * second - 1)
        )
        has_offset = dtype.time_zone is not None
    else:
        is_usable = counted.is_between(_FIRST_S // 86_400, _END_S // 86_400 - 1)
        has_offset = False
    at = where(is_usable, values)
    if has_offset:
        at = at.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    at = at.cast(pl.Datetime("us"))
    read = _judged(where(~at.is_in(sorted(timestamps.missing_times(field))), at), is_usable, _YEARS)
    offsets = where(read.values.is_not_null(), pl.Series([has_offset] * len(values), dtype=pl.Boolean))
    return Converted(read.values, read.problems, offsets)


def plain_numbers(values: pl.Series, field: Field) -> pl.Series:
    """Return the numbers of texts with a decimal point; null for other texts."""
    if field.decimal != ".":
        return pl.Series(values.name, [None] * len(values), dtype=pl.Float64)
    return _known(where(values.str.contains(_PLAIN_NUMBER), values).cast(pl.Float64), field)


def plain_times(values: pl.Series, field: Field) -> pl.Series:
    """Return the times of texts that are local timestamps with seconds; null for other texts."""
    times = where(values.str.contains(_PLAIN_TIME), values).str.replace(" ", "T", literal=True)
    at = times.str.to_datetime("%Y-%m-%dT%H:%M:%S", time_unit="us", strict=False)
    return where(~at.is_in(sorted(timestamps.missing_times(field))), at)


def _known(numbers: pl.Series, field: Field) -> pl.Series:
    return one_zero(where(~numbers.is_in(sorted(missing_numbers(field))), numbers))


def one_zero(numbers: pl.Series) -> pl.Series:
    """Return the numbers with 0 for -0, so that equal rows have equal bytes."""
    # Adding 0 would do, but Polars optimizes that term away.
    column = pl.col(numbers.name)
    return numbers.to_frame().select(pl.when(column == 0).then(0.0).otherwise(column).alias(numbers.name)).to_series()


def _judged(values: pl.Series, is_usable: pl.Series, problem: str) -> Converted:
    """Return the usable values, and the problem for the others but null."""
    is_bad = ~is_usable.fill_null(True)
    problems = where(is_bad, pl.Series([problem] * len(values), dtype=pl.String))
    return Converted(where(~is_bad, values), problems, pl.Series([None] * len(values), dtype=pl.Boolean))


def where(mask: pl.Series, values: pl.Series) -> pl.Series:
    """Return the values where the mask is true, else null."""
    return values.to_frame().select(pl.when(mask).then(pl.col(values.name))).to_series()
