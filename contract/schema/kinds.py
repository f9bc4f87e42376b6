"""One value to its canonical form, by the kind of its field: the same for a cell of a table and for a value of a request.

| kind | canonical | read from |
|---|---|---|
| number | float that a float32 can hold | a number; text with the field's decimal sign |
| boolean | bool | true, false, 1, 0; text: true/false, yes/no, 1/0 in any case |
| category | str | text, trimmed; a number or a boolean as the text of its value: 1 and 1.0 are "1", true is "true" |
| timestamp | datetime without an offset | ISO 8601 text: local, or with an offset and turned into UTC, as the field's zone says |
| … with a unit | the same, in UTC | a number: `s`, `ms`, `us` since 1970, or `yyyymmdd` |

None stands for a missing value: None itself, NaN, blank text, and whatever equals one of the field's `missing`. Canonical values are
read as what they are. No message holds a value.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from contract.schema import timestamps
from contract.schema.schema import Field
from contract.schema.texts import missing_numbers, missing_texts, parse_number, text_or
from contract.schema.timestamps import Reader

# The largest double that float32 does not round to infinity.
LARGEST = math.nextafter(2.0**128 - 2.0**103, 0.0)
NOT_USABLE = "must be a finite number, within ±3.4e38"

_WORDS = dict.fromkeys(("true", "yes", "1", "1.0"), True) | dict.fromkeys(("false", "no", "0", "0.0"), False)


def reader(field: Field) -> Reader:
    """Return the function from a value to the canonical one, or None where it is missing.

    It raises ValueError with the reason for a value that is none of the field's kind. Bounds are not its business.
    """
    return _READERS[field.kind](field)


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
        return number

    return read


def _boolean(field: Field) -> Reader:
    texts = missing_texts(field)

    def read(value: Any) -> bool | None:
        if type(value) is bool:  # canonical, whatever its text would stand for
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


_READERS: dict[str, Callable[[Field], Reader]] = {
    "number": _number,
    "boolean": _boolean,
    "category": _category,
    "identifier": _category,
    "timestamp": timestamps.reader,
}


def _float(value: float | Decimal) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf
