"""Texts of values, numbers in texts, and a field's missing values."""

from __future__ import annotations

import math
import re
import struct
from contextlib import suppress
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

from contract.schema.fields import Field

_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII).fullmatch
_NAN = re.compile(r"[+-]?nan", re.ASCII | re.IGNORECASE).fullmatch
_WRITTEN_DIGITS = 12  # significant ones, at most, of a number that somebody wrote as a category


def text_of(value: Any) -> str:
    """Return the text of a value, the same for every type that stores it; blank for None and NaN.

    Raises:
        ValueError: it is not a text, number, boolean, day or time of day.
    """
    if type(value) is str:
        return value.strip()
    if value is None or value != value:
        return ""
    # Before int, which a bool is to Python.
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, (float, Decimal)) and math.isfinite(value):
        # Parquet stores a code as 5 or 5.0 depending on whether the column has gaps; both are the category 5.
        if value == int(value):
            return str(int(value))
        return text_of(float(value)) if isinstance(value, Decimal) else _fraction(value)  # JSON carries the float
    if isinstance(value, date | time) and not isinstance(value, datetime):
        return value.isoformat()
    raise ValueError("must be text")


def _fraction(number: float) -> str:
    """Return the shortest text of a number, and of one that only float32 can have made so long, the text that it was there.

    A column or tensor of float32 has 0.1 as 0.10000000149011612; both are "0.1". A short text such as 1234.03125 stays, although float32
    needs fewer digits to tell it from others: the same number may come as text.
    """
    text = repr(number)
    if len(Decimal(text).as_tuple().digits) > _WRITTEN_DIGITS and float32(number) == number:
        texts = (f"{number:.{digits}g}" for digits in range(1, 10))  # 9 are always enough
        text = repr(next(float(each) for each in texts if float32(float(each)) == number))
    return text


def missing_numbers(field: Field) -> frozenset[float]:
    """Return the numbers that stand for a missing value, as float64 and rounded to float32.

    A token may have a decimal point or the field's decimal sign.
    """
    numbers = set()
    for token in field.missing:
        for decimal in (".", field.decimal):
            with suppress(ValueError):
                number = parse_number(token.strip(), decimal)
                numbers |= {number, float32(number)}
    return frozenset(filter(math.isfinite, numbers))


def float32(number: float) -> float:
    """Return the number rounded to float32, without NumPy, which the fleet's environment lacks."""
    try:
        (rounded,) = struct.unpack("f", struct.pack("f", number))
    except OverflowError:
        return math.inf
    return float(rounded)


def missing_texts(field: Field) -> frozenset[str]:
    """Return the texts that stand for a missing value: each token, and `text_of` its number.

    So for a category the token `-1` means the text `-1` and a stored number -1, but not the text `-1.0`, which is another category, as
    `01` is. Numbers are compared by value instead (`missing_numbers`).
    """
    return frozenset({"", *(token.strip() for token in field.missing), *map(text_of, missing_numbers(field))})


def text_or(value: Any, problem: str) -> str:
    """Return `text_of` the value; raise ValueError with the given problem instead of its own."""
    try:
        return text_of(value)
    except ValueError:
        raise ValueError(problem) from None


def parse_number(text: str, decimal: str = ".") -> float:
    """Return the number in a trimmed text, which may be NaN; raise ValueError if it is not one."""
    if decimal != ".":  # beside a decimal comma, a point separates thousands or is a mistake
        text = "" if "." in text else text.replace(decimal, ".", 1)
    if _NUMBER(text):
        return float(text)
    if _NAN(text):
        return math.nan
    raise ValueError("must be a number" + (f" with the decimal sign {decimal}" if decimal != "." else ""))
