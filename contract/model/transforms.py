"""The closed set of transforms, each written once, for one value; a training table and a request go through the same code.

Every function takes parsed values (float, bool, str, datetime or None for missing) and gives a Python float, NaN for missing.
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

from contract.schema.kinds import LARGEST

NAN = math.nan
Transform = Callable[..., float]

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


def value() -> Transform:
    return lambda x: x if type(x) is float else NAN if x is None else float(x)


def category(categories: list[str]) -> Transform:
    codes: dict[str | None, float] = {name: float(code) for code, name in enumerate(categories)}
    codes[None] = NAN
    other = float(len(categories))
    return lambda x: codes.get(x, other)


def calendar(part: str) -> Transform:
    read, _ = CALENDAR_PARTS[part]
    return lambda at: NAN if at is None else float(read(at))


def cyclic(part: str, function: str) -> Transform:
    read, period = CALENDAR_PARTS[part]
    wave = {"sin": math.sin, "cos": math.cos}[function]
    return lambda at: NAN if at is None else wave(2 * math.pi * read(at) / period)


def ratio() -> Transform:
    return lambda a, b: NAN if a is None or b is None or b == 0 else _usable(a / b)


def _usable(number: float) -> float:
    """The number, or NaN where the model's float32 would make it infinite."""
    return number if -LARGEST <= number <= LARGEST else NAN


def difference() -> Transform:
    return lambda a, b: NAN if a is None or b is None else _usable(a - b)


def product() -> Transform:
    return lambda a, b: NAN if a is None or b is None else _usable(a * b)


def elapsed(unit: str) -> Transform:
    one = ELAPSED_UNITS[unit]
    return lambda start, end: NAN if start is None or end is None else (end - start) / one


def is_missing() -> Transform:
    return lambda x: float(x is None)


def text_length() -> Transform:
    return lambda text: NAN if text is None else float(len(text))


def binned(edges: Sequence[float]) -> Transform:
    if not edges or not all(map(math.isfinite, edges)) or any(a >= b for a, b in itertools.pairwise(edges)):
        raise ValueError("the edges of 'binned' must be numbers that ascend")
    return lambda x: NAN if x is None else float(bisect_left(edges, x))


def holiday(dates: Sequence[str], first_year: int, last_year: int) -> Transform:
    try:
        days = frozenset(date.fromisoformat(day).toordinal() for day in dates)
    except ValueError as error:
        raise ValueError("the dates of 'holiday' must be such as 2013-12-25") from error
    return lambda at: NAN if at is None or not first_year <= at.year <= last_year else float(at.toordinal() in days)


def log() -> Transform:
    return lambda x: NAN if x is None or x <= -1 else math.log1p(x)


def lookup(table: Mapping[str, float], default: float | None) -> Transform:
    fallback = NAN if default is None else default
    return lambda key: NAN if key is None else table.get(key, fallback)


_MAKERS: dict[str, Callable[..., Transform]] = {
    "value": value,
    "category": category,
    "calendar": calendar,
    "cyclic": cyclic,
    "ratio": ratio,
    "difference": difference,
    "product": product,
    "elapsed": elapsed,
    "is_missing": is_missing,
    "text_length": text_length,
    "binned": binned,
    "holiday": holiday,
    "log": log,
    "lookup": lookup,
}


def make(name: str, options: Mapping[str, Any]) -> Transform:
    """The transform `name` with its options bound.

    Raises:
        ValueError: an option is missing, unknown or has no meaning.
    """
    try:
        return _MAKERS[name](**options)
    except (KeyError, TypeError) as error:
        raise ValueError(f"transform {name!r} does not take the options {sorted(options)}: {error}") from error
