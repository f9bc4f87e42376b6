"""Timestamps: text in ISO 8601 or another format, and numbers, to a datetime without an offset."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

from contract.schema.fields import Field
from contract.schema.texts import missing_texts, parse_number, text_of, text_or

Reader = Callable[[Any], Any]

EPOCH_UNITS = {"s": 1_000_000, "ms": 1_000, "us": 1}  # microseconds of each
CALENDAR_DAY = "yyyymmdd"
UNITS = (*EPOCH_UNITS, CALENDAR_DAY)
UTC_ZONE = "UTC"

_EPOCH = datetime(1970, 1, 1)
_DRAWN_FROM, _DRAWN_DAYS = datetime(2024, 1, 1), 365
_DAY = re.compile(r"(\d{4})(\d\d)(\d\d)", re.ASCII).fullmatch
# A date, then perhaps a time of day, then perhaps an offset.
_ISO = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:(?:T| +)(\d\d:\d\d(?::\d\d(?:\.\d+)?)?)(?: *([Zz]|[+-]\d\d(?::?\d\d)?))?)?", re.ASCII
).fullmatch
_ZONE_HINTS: dict[str | None, str] = {
    None: ", without an offset: the model was trained on local times",
    UTC_ZONE: ", with an offset: the model was trained on times in UTC",
}
# Directives of Polars (chrono) that Python's strptime lacks.
_DIRECTIVES = {
    "%T": "%H:%M:%S", "%R": "%H:%M", "%F": "%Y-%m-%d", "%D": "%m/%d/%y", "%e": "%d", "%k": "%H", "%l": "%I", "%h": "%b",
    "%#z": "%z", "%:z": "%z",
}  # fmt: skip
_FRACTION = "%.f"
_RUN = re.compile(r"((?:%[YmdHMSIyj]){2,})")
_WIDTHS = {"Y": 4, "j": 3}  # digits of a directive; the others have two


def reader(field: Field) -> Reader:
    """Return the function from a value to its datetime, or None if missing; it raises ValueError with the reason."""
    if field.unit is not None:
        make = _counted_in(field)
    elif _is_own(field):
        make = in_format(field)
    else:
        make = _iso(field)
    missing, texts, zone = missing_times(field), missing_texts(field), field.zone

    def read(value: Any) -> datetime | None:
        if type(value) is str:
            if value.strip() in texts:
                return None
        elif value is None or value != value:
            return None
        at: datetime | None = _canonical(value, zone) if isinstance(value, datetime) else make(value)
        return None if at in missing else at

    return read


def draw(field: Field, random: Random) -> Any:
    """Return a random timestamp in a request's form."""
    at = _DRAWN_FROM + timedelta(minutes=random.randrange(_DRAWN_DAYS * 1440))
    if field.unit == CALENDAR_DAY:
        return int(at.strftime("%Y%m%d"))
    if field.unit is not None:
        return (at - _EPOCH) // timedelta(microseconds=EPOCH_UNITS[field.unit])
    if _is_own(field):
        if field.format == "%s":
            return str((at - _EPOCH) // timedelta(seconds=1))
        return (at.replace(tzinfo=UTC) if field.zone else at).strftime(_patterns(str(field.format))[0])
    return at.isoformat(timespec="minutes") + ("Z" if field.zone else "")


def in_format(field: Field) -> Reader:
    """Return the reader of the joined text of a field's source columns, in the field's `format`."""
    patterns = [(pattern, _has_all_digits(pattern)) for pattern in _patterns(str(field.format))]
    missing = missing_times(field)

    def read(value: Any) -> datetime | None:
        text = text_of(value)
        if not text:
            return None
        for pattern, has_all_digits in patterns:
            if not has_all_digits(text):
                continue
            with suppress(ValueError, OverflowError):
                at = _counted(text, "s") if pattern == "%s" else datetime.strptime(text, pattern)
                return None if _without_offset(at) in missing else _in_zone(at, field.zone)
        raise ValueError(f"must be a timestamp in the format {field.format}" + _ZONE_HINTS[field.zone])

    return read


def combined(parts: Sequence[Any], field: Field) -> str | None:
    """Return the joined text of a timestamp's columns, or None if one of them is missing."""
    tokens = missing_texts(field)
    texts = [text_of(part) for part in parts]
    return None if tokens.intersection(texts) else " ".join(texts)


def check_format(pattern: str) -> None:
    """Check that a format can be read back and gives the day.

    Raises:
        ValueError: it is invalid, or lacks year, month or day.
    """
    if pattern == "%s":
        return
    wanted = datetime(2003, 4, 5)
    for translated in _patterns(pattern):
        written = wanted.replace(tzinfo=UTC).strftime(translated)
        try:
            read = datetime.strptime(written, translated)
        except (ValueError, re.error):
            raise ValueError(
                f"the format {pattern!r} is invalid: it writes {written!r}, which cannot be read back"
            ) from None
        if read.date() != wanted.date():
            raise ValueError(f"the format {pattern!r} lacks the year, the month or the day")


def missing_times(field: Field) -> frozenset[datetime]:
    """Return the datetimes that stand for a missing value."""
    moments = set()
    for token in field.missing:
        with suppress(ValueError):
            moments.add(_counted(token, field.unit) if field.unit else _without_offset(_parse_iso(token.strip())))
    return frozenset(moments)


def _is_own(field: Field) -> bool:
    """Return whether a request carries the text in the field's format itself, and not ISO 8601."""
    return field.format is not None and field.source == (field.name,)


def _counted_in(field: Field) -> Reader:
    unit, texts = str(field.unit), missing_texts(field)

    def read(value: Any) -> datetime | None:
        return None if text_or(value, _wanted(unit)) in texts else _counted(value, unit)

    return read


def _iso(field: Field) -> Reader:
    zone, missing = field.zone, missing_times(field)
    problem = "must be a timestamp such as 2013-12-24T17:30" + ("Z" if zone else "")

    def read(value: Any) -> datetime | None:
        if type(value) is not str:
            raise ValueError(problem)
        try:
            at = _parse_iso(value.strip())
        except ValueError:
            raise ValueError(problem) from None
        return None if _without_offset(at) in missing else _in_zone(at, zone)

    return read


def _parse_iso(text: str) -> datetime:
    match = _ISO(text)
    if match is None:
        raise ValueError("must be a timestamp")
    day, clock, offset = match.groups()
    # Python 3.11 refuses a lower-case z, which RFC 3339 allows.
    return datetime.fromisoformat(f"{day}T{clock}{offset.upper()}" if offset else f"{day}T{clock}" if clock else day)


def _in_zone(at: datetime, zone: str | None) -> datetime:
    """Return the datetime without its offset, in UTC; raise ValueError if it needs an offset, or may not have one."""
    if (at.tzinfo is None) != (zone is None):
        hint = _ZONE_HINTS[zone].partition(": ")[2]
        wanted = "must have an offset, such as 2013-12-24T17:30Z" if zone else "must be a timestamp without an offset"
        raise ValueError(f"{wanted}: {hint}")
    return _without_offset(at)


def _canonical(at: datetime, zone: str | None) -> datetime:
    """Return a datetime without an offset; one without is canonical already."""
    return at if at.tzinfo is None else _in_zone(at, zone)


def _without_offset(at: datetime) -> datetime:
    if at.tzinfo is None:
        return at
    try:
        return at.astimezone(UTC).replace(tzinfo=None)
    except OverflowError:
        raise ValueError("must be a timestamp in the years 1 to 9999") from None


def _counted(value: Any, unit: str) -> datetime:
    """Return the datetime of a number, or its text, in a unit."""
    try:
        if unit == CALENDAR_DAY:
            return _day(text_of(value))
        number = parse_number(value.strip()) if type(value) is str else value
        if isinstance(number, (int, float, Decimal)) and not isinstance(number, bool):
            scale = EPOCH_UNITS[unit]
            count = int(number) * scale if number == int(number) else round(float(number) * scale)
            return _EPOCH + timedelta(microseconds=count)
    except (ValueError, OverflowError):
        pass
    raise ValueError(_wanted(unit))


def _wanted(unit: str) -> str:
    return "must be a day as yyyymmdd" if unit == CALENDAR_DAY else f"must be a number of {unit} since 1970"


def _day(text: str) -> datetime:
    match = _DAY(text)
    if match is None:
        raise ValueError("must be a day")
    year, month, day = map(int, match.groups())
    return datetime(year, month, day)


def _has_all_digits(pattern: str) -> Callable[[str], object]:
    """Return a test that adjacent directives have all of their digits."""
    # strptime takes fewer digits: it reads 130 as %H%M to be 13:00.
    parts = _RUN.split(pattern)
    for run in range(1, len(parts), 2):
        parts[run] = "".join(rf"\d{{{_WIDTHS.get(letter, 2)}}}" for letter in parts[run][1::2])
    parts[::2] = [".*" if part else "" for part in parts[::2]]
    return re.compile("".join(parts), re.ASCII | re.DOTALL).fullmatch


def _patterns(pattern: str) -> list[str]:
    """Return the format in Python's directives; two formats if a fraction of a second is optional."""
    for directive, written in _DIRECTIVES.items():
        pattern = pattern.replace(directive, written)
    return [pattern.replace(_FRACTION, ".%f"), pattern.replace(_FRACTION, "")] if _FRACTION in pattern else [pattern]
