"""The text of a value, the number that a text is, and what a field says of missing ones."""

from __future__ import annotations

import math
import re
import struct
from contextlib import suppress
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from contract.schema.fields import Field

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII).fullmatch
_NAN = re.compile(r"[+-]?nan", re.ASCII | re.IGNORECASE).fullmatch


def text_of(value: Any) -> str:
    """Return the text of a value, which depends on the value and never on the type that stores it; blank for None and NaN.

    Raises:
        ValueError: it is no text, number, boolean or day.
    """
    if type(value) is str:
        return value.strip()
    if value is None or value != value:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, (float, Decimal)) and math.isfinite(value):
        if value == int(value):
            return str(int(value))
        return text_of(float(value)) if isinstance(value, Decimal) else repr(value)  # a request has the float
    if isinstance(value, date) and not isinstance(value, datetime):
        return value.isoformat()
    raise ValueError("must be text")


def missing_numbers(field: Field) -> frozenset[float]:
    """Return the numbers that stand for a missing value, each also as a float32 column holds it; with a point or the field's sign."""
    numbers = set()
    for token in field.missing:
        for decimal in (".", field.decimal):
            with suppress(ValueError):
                number = parse_number(token.strip(), decimal)
                numbers |= {number, _float32(number)}
    return frozenset(filter(math.isfinite, numbers))


def _float32(number: float) -> float:
    """Return the number as a float32 holds it, without NumPy, which the fleet's environment does not have."""
    try:
        (rounded,) = struct.unpack("f", struct.pack("f", number))
    except OverflowError:
        return math.inf
    return float(rounded)


def missing_texts(field: Field) -> frozenset[str]:
    """Return the texts that stand for a missing value: each token, and the text that `text_of` gives for the number that it is.

    So of categories the token `-1` means the text `-1`, and the number wherever one is stored, but not the text `-1.0`: that is another
    text, as `01` is. What is a number anyway is compared by its value (`missing_numbers`), however it is written.
    """
    return frozenset({"", *(token.strip() for token in field.missing), *map(text_of, missing_numbers(field))})


def text_or(value: Any, problem: str) -> str:
    """Return `text_of` the value, or raise ValueError with the problem."""
    try:
        return text_of(value)
    except ValueError:
        raise ValueError(problem) from None


def parse_number(text: str, decimal: str = ".") -> float:
    """Return the number that a text without blanks around it is, NaN among them; raises ValueError where it is none."""
    if decimal != ".":  # with a decimal comma, a point would be one for thousands, or a mistake
        text = "" if "." in text else text.replace(decimal, ".", 1)
    if _NUMBER(text):
        return float(text)
    if _NAN(text):
        return math.nan
    raise ValueError("must be a number")
