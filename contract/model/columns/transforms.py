"""Transforms of whole columns, each with the very numbers that `contract.model.transforms` gives value by value, but by NumPy.

A transform that is not here is taken value by value; so are those whose last bits NumPy rounds otherwise (`log`). Columns are float64 for
numbers and booleans (NaN for missing), and datetime64[us] for timestamps (any for missing: what is made of it is then NaN).
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
_US = {"minute": 60_000_000, "hour": 3_600_000_000, "day": 86_400_000_000}
_EPOCH_ORDINAL = date(1970, 1, 1).toordinal()


def make(name: str, options: Mapping[str, Any]) -> ColumnTransform | None:
    """Return the transform `name` with its options bound; None where it is taken value by value."""
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
    """The transform, without NumPy's warnings of what becomes NaN anyway."""

    def quiet(*columns: Array) -> Array:
        with np.errstate(all="ignore"):
            return transform(*columns)

    return quiet


def _usable(column: Array) -> Array:
    return np.where(np.abs(column) <= LARGEST, column, np.nan)


def _elapsed(unit: str) -> ColumnTransform:
    one = ELAPSED_UNITS[unit] // timedelta(microseconds=1)

    # Python's division of whole numbers is exact to the last bit, however large they are.
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
    """Days since 1970."""
    return at.astype(_DAY).view(_WHOLE)


def _since(at: Array, unit: np.dtype[Any]) -> Array:
    """Days since the year or the month began."""
    return _days(at) - _days(at.astype(unit))


def _weekday(at: Array) -> Array:
    return (_days(at) + 3) % 7


def _week(at: Array) -> Array:
    """The ISO week is that of its Thursday, counted from the year of the Thursday."""
    thursday = (_days(at) - _weekday(at) + 3).view(_DAY)
    return _since(thursday, _YEAR) // 7 + 1


# Each of `contract.model.transforms.CALENDAR_PARTS`.
_PARTS: dict[str, Callable[[Array], Array]] = {
    "minute_of_day": lambda at: at.view(_WHOLE) // _US["minute"] % 1440,
    "hour": lambda at: at.view(_WHOLE) // _US["hour"] % 24,
    "weekday": _weekday,
    "day": lambda at: _since(at, _MONTH) + 1,
    "month": lambda at: at.astype(_MONTH).view(_WHOLE) % 12 + 1,
    "day_of_year": lambda at: _since(at, _YEAR) + 1,
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
