"""The closed set of transforms of values, the same for training tables and requests.

A transform takes its options and returns a function from canonical values (float, bool, str, datetime or None for missing) to a Python
float, NaN for missing. `TRANSFORMS` has the properties of each.
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

from contract.schema.kinds import KINDS, LARGEST, REQUESTED
from contract.schema.schema import Feature

NAN = math.nan
Function = Callable[..., float]

# Unit of the time between two timestamps.
ELAPSED_UNITS = {
    "s": timedelta(seconds=1),
    "min": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}
# Part of a timestamp, and its period for the cyclic transform.
CALENDAR_PARTS: dict[str, tuple[Callable[[datetime], int], int]] = {
    "minute_of_day": (lambda at: at.hour * 60 + at.minute, 1440),
    "hour": (lambda at: at.hour, 24),
    "weekday": (lambda at: at.weekday(), 7),
    "day": (lambda at: at.day, 31),
    "month": (lambda at: at.month, 12),
    "day_of_year": (lambda at: at.timetuple().tm_yday, 366),
    "week": (lambda at: at.isocalendar().week, 53),
}


def value() -> Function:
    """Return the function for a number or boolean, unchanged."""
    return lambda x: x if type(x) is float else NAN if x is None else float(x)


def category(categories: list[str]) -> Function:
    """Return the function for the position of a known category; an unknown one gets their count."""
    codes: dict[str | None, float] = {name: float(code) for code, name in enumerate(categories)}
    # Missing is not unknown: trees learn a way for each.
    codes[None] = NAN
    other = float(len(categories))
    return lambda x: codes.get(x, other)


def calendar(part: str) -> Function:
    """Return the function for a part of a timestamp: weekday from Monday as 0, week by ISO 8601."""
    read, _ = CALENDAR_PARTS[part]
    return lambda at: NAN if at is None else float(read(at))


def cyclic(part: str, function: str) -> Function:
    """Return the function for the sine or cosine of 2π · part / period."""
    read, table = CALENDAR_PARTS[part][0], cyclic_table(part, function)
    return lambda at: NAN if at is None else table[read(at)]


def cyclic_table(part: str, function: str) -> list[float]:
    """Return the sine or cosine of every possible value of the part."""
    period = CALENDAR_PARTS[part][1]
    wave = {"sin": math.sin, "cos": math.cos}[function]
    # One more than the period, since days, weeks and months count from 1. Rows and columns share it, and so the last bits.
    return [wave(2 * math.pi * number / period) for number in range(period + 1)]


def ratio() -> Function:
    """Return the function for a / b; NaN where b is 0, or the result is outside float32."""
    return lambda a, b: NAN if a is None or b is None or b == 0 else _usable(a / b)


def _usable(number: float) -> float:
    """Return the number, or NaN if it would be infinite as float32."""
    return number if -LARGEST <= number <= LARGEST else NAN


def difference() -> Function:
    """Return the function for a - b; NaN where the result is outside float32."""
    return lambda a, b: NAN if a is None or b is None else _usable(a - b)


def product() -> Function:
    """Return the function for a * b; NaN where the result is outside float32."""
    return lambda a, b: NAN if a is None or b is None else _usable(a * b)


def elapsed(unit: str) -> Function:
    """Return the function for the time from the first timestamp to the second, in `ELAPSED_UNITS`."""
    one = ELAPSED_UNITS[unit]
    return lambda start, end: NAN if start is None or end is None else (end - start) / one


def is_missing() -> Function:
    """Return the function for 1 if the value, of any kind, is missing, else 0."""
    return lambda x: float(x is None)


def text_length() -> Function:
    """Return the function for the number of characters."""
    return lambda text: NAN if text is None else float(len(text))


def binned(edges: Sequence[float]) -> Function:
    """Return the function for the number of ascending edges below a value."""
    if not edges or not all(map(math.isfinite, edges)) or any(a >= b for a, b in itertools.pairwise(edges)):
        raise ValueError("the edges of 'binned' must be ascending numbers")
    return lambda x: NAN if x is None else float(bisect_left(edges, x))


def holiday(dates: Sequence[str], first_year: int, last_year: int) -> Function:
    """Return the function for 1 on a day of `dates` (ISO 8601), 0 on another within the years, NaN outside of them."""
    try:
        days = frozenset(date.fromisoformat(day).toordinal() for day in dates)
    except ValueError as error:
        raise ValueError("the dates of 'holiday' must be such as 2013-12-25") from error
    return lambda at: NAN if at is None or not first_year <= at.year <= last_year else float(at.toordinal() in days)


def log() -> Function:
    """Return the function for the natural logarithm of 1 + x; NaN where undefined."""
    # Of 1 + x, since counts and amounts have zeros.
    return lambda x: NAN if x is None or x <= -1 else math.log1p(x)


def lookup(table: Mapping[str, float], default: float | None) -> Function:
    """Return the function for the number of a key; the default, or NaN, for keys not in the table."""
    fallback = NAN if default is None else default
    return lambda key: NAN if key is None else table.get(key, fallback)


class Transform(NamedTuple):
    """The properties of a transform.

    Attributes:
        make: binds the options, and returns the function of a row's values.
        reads: types of the canonical values that it accepts (`contract.schema.kinds.Kind.canonical`).
        listed: option with the known categories. Others are a fallback, and PII columns are refused.
        is_code: if true, its number is the position of a category in `listed`, or their count for another one.
        inline: expression in place of a call that would take most of the time, by the type of the value.
    """

    make: Callable[..., Function]
    reads: tuple[type, ...]
    listed: str | None = None
    is_code: bool = False
    inline: Mapping[type, str] = {}


TRANSFORMS = {
    "value": Transform(value, (float, bool), inline={float: "NAN if {0} is None else {0}"}),
    "category": Transform(category, (str,), listed="categories", is_code=True),
    "calendar": Transform(calendar, (datetime,)),
    "cyclic": Transform(cyclic, (datetime,)),
    "ratio": Transform(ratio, (float,)),
    "difference": Transform(difference, (float,)),
    "product": Transform(product, (float,)),
    "elapsed": Transform(elapsed, (datetime,)),
    "is_missing": Transform(is_missing, (float, bool, str, datetime)),
    "text_length": Transform(text_length, (str,)),
    "binned": Transform(binned, (float,)),
    "holiday": Transform(holiday, (datetime,)),
    "log": Transform(log, (float,)),
    "lookup": Transform(lookup, (str,), listed="table"),
}


def make(name: str, options: Mapping[str, Any]) -> Function:
    """Return the function of the transform `name` with its options bound.

    Raises:
        ValueError: there is no such transform, or an option is missing, unknown or invalid.
    """
    if name not in TRANSFORMS:
        raise ValueError(f"unknown transform {name!r}")
    try:
        return TRANSFORMS[name].make(**options)
    except (KeyError, TypeError) as error:
        raise ValueError(f"transform {name!r} does not take the options {sorted(options)}: {error}") from error


def kinds_of(name: str) -> tuple[str, ...]:
    """Return the kinds of column that the transform accepts."""
    return tuple(kind for kind in REQUESTED if KINDS[kind].canonical in TRANSFORMS[name].reads)


def listed(feature: Feature) -> Collection[str] | None:
    """Return the categories that a feature knows, or None if it has no such list."""
    option = TRANSFORMS[feature.transform].listed
    return None if option is None else feature.options[option]


def codes(feature: Feature) -> Sequence[str] | None:
    """Return the categories whose positions are a feature's values, or None if they are not positions."""
    transform = TRANSFORMS[feature.transform]
    return feature.options[transform.listed] if transform.is_code and transform.listed else None
