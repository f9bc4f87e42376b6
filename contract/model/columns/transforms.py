"""Transforms of whole columns by NumPy, equal bit for bit to those of `contract.model.transforms` value by value.

Other transforms run value by value, among them `log`, whose last bits NumPy rounds differently. Columns are float64 for numbers and
booleans (NaN for missing), and datetime64[us] for timestamps (arbitrary where missing: the result is replaced by NaN).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.model.transforms import ELAPSED_UNITS, cyclic_table
from contract.schema.kinds import LARGEST

Array = NDArray[Any]
ColumnTransform = Callable[..., Array]

_WHOLE, _DAY, _MONTH, _YEAR = map(np.dtype, ("i8", "M8[D]", "M8[M]", "M8[Y]"))
# Arrays, which NumPy takes in half of the time of Python's numbers.
_US_OF_MINUTE, _US_OF_HOUR = np.array(60_000_000), np.array(3_600_000_000)
_MINUTES, _HOURS, _WEEKDAYS, _MONTHS, _ONE, _THREE = map(np.array, (1440, 24, 7, 12, 1, 3))
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()


def make(name: str, options: Mapping[str, Any]) -> ColumnTransform | None:
    """Return the transform `name` with its options bound, or None if it runs value by value."""
    maker = _MAKERS.get(name)
    return maker(**options) if maker else None


def _value() -> ColumnTransform:
    return lambda column: column


def _binned(edges: Sequence[float]) -> ColumnTransform:
    array = np.array(edges, np.float64)
    return lambda column: np.where(np.isnan(column), np.nan, np.searchsorted(array, column, "left"))


def _difference() -> ColumnTransform:
    return lambda a, b: _usable(a - b)


def _product() -> ColumnTransform:
    return _quiet(lambda a, b: _usable(a * b))


def _ratio() -> ColumnTransform:
    return _quiet(lambda a, b: _usable(np.where(b == 0, np.nan, a / b)))


def _quiet(transform: ColumnTransform) -> ColumnTransform:
    """Return the transform without NumPy's warnings about results that become NaN anyway."""

    def quiet(*columns: Array) -> Array:
        with np.errstate(all="ignore"):
            return transform(*columns)

    return quiet


def _usable(column: Array) -> Array:
    return np.where(np.abs(column) <= LARGEST, column, np.nan)


def _elapsed(unit: str) -> ColumnTransform:
    one = ELAPSED_UNITS[unit] // timedelta(microseconds=1)

    # Python rounds the quotient of large integers correctly; NumPy would round each of them to a float first.
    return lambda start, end: np.array([count / one for count in (end - start).view(_WHOLE).tolist()])


def _calendar(part: str) -> ColumnTransform:
    return _PARTS[part]


def _cyclic(part: str, function: str) -> ColumnTransform:
    read, table = _PARTS[part], np.array(cyclic_table(part, function))
    return lambda at: table.take(read(at))


def _holiday(dates: Sequence[str], first_year: int, last_year: int) -> ColumnTransform:
    days = frozenset(date.fromisoformat(day).toordinal() - _EPOCH_ORDINAL for day in dates)

    def holiday(at: Array) -> Array:
        years = at.astype(_YEAR).view(_WHOLE) + 1970
        known = (first_year <= years) & (years <= last_year)
        return np.where(known, [day in days for day in _days(at).tolist()], np.nan)

    return holiday


def _days(at: Array) -> Array:
    """Return the days since 1970."""
    return at.astype(_DAY).view(_WHOLE)


def _since(at: Array, unit: np.dtype[Any]) -> Array:
    """Return the days since the start of the year or the month."""
    days = at.astype(_DAY)
    since: Array = days - days.astype(unit).astype(_DAY)
    return since.view(_WHOLE)


def _weekday(at: Array) -> Array:
    # 1970 began on a Thursday, day 3 of a week from Monday.
    weekday: Array = (_days(at) + _THREE) % _WEEKDAYS
    return weekday


def _week(at: Array) -> Array:
    """Return the ISO week, which is counted in the year of its Thursday."""
    thursday = (_days(at) - _weekday(at) + 3).view(_DAY)
    return _since(thursday, _YEAR) // 7 + 1


# Each of `contract.model.transforms.CALENDAR_PARTS`.
_PARTS: dict[str, Callable[[Array], Array]] = {
    # NumPy's // rounds down and its % is never negative, so these hold before 1970, too.
    "minute_of_day": lambda at: at.view(_WHOLE) // _US_OF_MINUTE % _MINUTES,
    "hour": lambda at: at.view(_WHOLE) // _US_OF_HOUR % _HOURS,
    "weekday": _weekday,
    "day": lambda at: _since(at, _MONTH) + _ONE,
    "month": lambda at: at.astype(_MONTH).view(_WHOLE) % _MONTHS + _ONE,
    "day_of_year": lambda at: _since(at, _YEAR) + _ONE,
    "week": _week,
}
_MAKERS: dict[str, Callable[..., ColumnTransform]] = {
    "value": _value,
    "calendar": _calendar,
    "cyclic": _cyclic,
    "ratio": _ratio,
    "difference": _difference,
    "product": _product,
    "elapsed": _elapsed,
    "binned": _binned,
    "holiday": _holiday,
}
