"""The canonical form of a value by the kind of its field, in tables and requests alike.

| kind | canonical | read from |
|---|---|---|
| number | float that a float32 can hold, never -0 | a number; text with the field's decimal sign |
| boolean | bool | true, false, 1, 0; text: true/false, yes/no, 1/0 in any case |
| category | str | text, trimmed; a number or a boolean as the text of its value: 1 and 1.0 are "1", true is "true" |
| timestamp | datetime without an offset | ISO 8601 text: local, or with an offset and turned into UTC, as the field's zone says |
| … with a unit | the same, in UTC | a number: `s`, `ms`, `us` since 1970, or `yyyymmdd` |

None stands for a missing value: None itself, NaN, blank text, or one of the field's `missing`. Numbers and timestamps with a unit
compare those as numbers, so that `-1` equals `-1.0`; the others compare text. Reading a canonical value returns it unchanged. No message
contains a value.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from itertools import chain, islice
from random import Random
from typing import Any, NamedTuple

from contract.schema import timestamps
from contract.schema.fields import Field
from contract.schema.texts import float32, missing_numbers, missing_texts, parse_number, text_or
from contract.schema.timestamps import Reader

# The largest double that float32 does not round to infinity.
LARGEST = math.nextafter(2.0**128 - 2.0**103, 0.0)
NOT_USABLE = "must be a finite number, within ±3.4e38"

BOOLEAN_WORDS = (("false", "true"), ("no", "yes"), ("0", "1"), ("0.0", "1.0"))
_WORDS = {word: word == true for false, true in BOOLEAN_WORDS for word in (false, true)}

UNKNOWN = "no such category"  # as golden requests say it


class Kind(NamedTuple):
    """A kind of column.

    Attributes:
        canonical: type of its canonical values, by which transforms accept it; floats have bounds.
        reader: returns the reader of a field.
        draw: returns a random value in a request's form; for a field with known categories, one of those is drawn instead.
        meaning: description in the reference of `params.yaml`.
        units: units that a column may declare; None allows any, for people.
        is_requested: if true, requests may carry it and features may be made from it.
    """

    canonical: type
    reader: Callable[[Field], Reader]
    draw: Callable[[Field, Random], Any]
    meaning: str
    units: tuple[str, ...] | None = None
    is_requested: bool = True


def reader(field: Field) -> Reader:
    """Return the function from a value to its canonical form, or None if missing.

    The function raises ValueError with the reason for a value of another kind. It does not check bounds.
    """
    return KINDS[field.kind].reader(field)


def is_bounded(field: Field) -> bool:
    """Return whether the field has bounds, as numbers do."""
    return KINDS[field.kind].canonical is float


def bounds(minimum: float | None, maximum: float | None) -> tuple[float, float]:
    """Return inclusive bounds within float32. They admit a bound as a column or a tensor of float32 holds it, 0.1 as 0.100000001."""
    low = -LARGEST if minimum is None else max(min(minimum, float32(minimum)), -LARGEST)
    high = LARGEST if maximum is None else min(max(maximum, float32(maximum)), LARGEST)
    return low, high


def _number(field: Field) -> Reader:
    texts, numbers, decimal = missing_texts(field), missing_numbers(field), field.decimal

    def read(value: Any) -> float | None:
        if type(value) is str:
            text = value.strip()
            if text in texts:
                return None
            number = parse_number(text, decimal)
        elif value is None:
            return None
        elif type(value) is float or type(value) is int or isinstance(value, Decimal):
            number = _float(value)
        else:
            raise ValueError("must be a number")
        if number != number or number in numbers:
            return None
        if not -LARGEST <= number <= LARGEST:
            raise ValueError(NOT_USABLE)
        return number or 0.0  # -0 becomes 0: equal rows get equal bytes

    return read


def _boolean(field: Field) -> Reader:
    texts = missing_texts(field)

    def read(value: Any) -> bool | None:
        if type(value) is bool:  # canonical already, even if its text stands for a missing value
            return value
        if type(value) is float and math.isinf(value):
            raise ValueError("must be true or false")
        text = value.strip() if type(value) is str else text_or(value, "must be true or false")
        if text in texts:
            return None
        word = _WORDS.get(text.lower())
        if word is None:
            raise ValueError("must be true or false")
        return word

    return read


def _category(field: Field) -> Reader:
    texts = missing_texts(field)

    def read(value: Any) -> str | None:
        text = value.strip() if type(value) is str else text_or(value, "must be a string")
        return None if text in texts else text

    return read


def _draw_number(field: Field, random: Random) -> float:
    low = field.minimum if field.minimum is not None else min(0.0, (field.maximum or 0.0) - 100.0)
    high = field.maximum if field.maximum is not None else max(100.0, low + 100.0)
    missing = missing_numbers(field)
    draws = iter(lambda: min(max(round(random.uniform(low, high), 2), low), high), None)
    # A range may be so narrow that all its rounded numbers mean a missing value; `data.columns` requires that one of its ends does not.
    return next(number for number in chain(islice(draws, 100), (low, high)) if number not in missing)


KINDS = {
    "number": Kind(float, _number, _draw_number, "one that a float32 holds"),
    "boolean": Kind(bool, _boolean, lambda _, random: random.random() < 0.5, "true/false, yes/no, 1/0"),
    "category": Kind(str, _category, lambda *_: UNKNOWN, "text, or a value as its text"),
    "timestamp": Kind(
        datetime, timestamps.reader, timestamps.draw, "ISO 8601, or by its `unit`", units=timestamps.UNITS
    ),
    "identifier": Kind(
        str, _category, lambda *_: UNKNOWN, "text that names a row, never a feature", is_requested=False
    ),
}
REQUESTED = tuple(name for name, kind in KINDS.items() if kind.is_requested)


def _float(value: float | Decimal) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf
