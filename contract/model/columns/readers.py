"""The parsing of a field's column, sent by a caller or by several, whose rows then follow each other.

Most values are canonical or nearly so, and NumPy converts them a whole column at a time; others go through the field's parser.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np

from contract.model.columns.categories import Coded
from contract.model.columns.texts import LENGTH, Array, Column, Texts, all_texts, items_of
from contract.model.row_program import Parser
from contract.schema.fields import Field
from contract.schema.kinds import KINDS

_MOMENT = np.dtype("M8[us]")
# Any digit to 0, by which all timestamps of one form become equal.
_ZEROS = bytes.maketrans(b"123456789", b"000000000")
_MINUTES, _SECONDS = b"1970-01-01T00:00", b"1970-01-01T00:00:00"


class Moments(NamedTuple):
    """A parsed column of timestamps, datetime64[us], arbitrary in the rows of `missing`."""

    at: Array
    missing: list[int]


Parsed = Array | Coded | Moments | list[Any]
Reader = Callable[[Sequence[Column]], Parsed]  # of the columns of requests


def reader(field: Field, one: Parser) -> Reader:
    """Return the function from columns of numbers, booleans or timestamps to their parsed column.

    Args:
        one: made by `value_parser`.

    Returns:
        A function that raises ValueError for a value that violates the schema. It returns for numbers and booleans an array, NaN for
        missing, whose bounds are not checked; for timestamps `Moments`, or canonical values if the field's texts are not plain ISO 8601.
    """
    canonical = KINDS[field.kind].canonical
    if canonical is datetime:
        is_plain = field.kind == "timestamp" and not (field.missing or field.unit or field.format)
        return (
            _timestamps(one, b"Z" if field.zone else b"")
            if is_plain
            else lambda columns: list(map(one, items_of(columns)))
        )
    return _numbers(one, "b" if canonical is bool else "fiu" if field.kind == "number" else "f")


def value_parser(parse: Parser, *, is_optional: bool) -> Parser:
    """Return a parser of values in columns: text may be bytes, and NaN is missing in an optional field."""

    def one(value: Any) -> Any:
        if type(value) is bytes:
            return parse(value.decode())
        return parse(None if is_optional and value != value else value)

    return one


def _numbers(one: Parser, kinds: str) -> Reader:
    def read(columns: Sequence[Column]) -> Array:
        arrays = [each for each in columns if isinstance(each, np.ndarray) and each.dtype.kind in kinds]
        if len(arrays) < len(columns):
            return np.array(list(map(one, items_of(columns))), np.float64)
        return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)

    return read


def _timestamps(one: Parser, zone: bytes) -> Reader:
    plain = {len(text): _Plain(text, zone) for text in (_MINUTES + zone, _SECONDS + zone)}

    def read(columns: Sequence[Column]) -> Moments:
        sent = all_texts(columns)
        if sent is not None:
            for shape in plain.values():
                if shape.fits_all(sent):
                    return Moments(shape.moments(b"".join([each.content for each in sent]), LENGTH.size), [])
        items = items_of(columns)
        content, length, others = _of_one_length(items, plain)
        shape = plain[length]
        # Rare; the few that do not fit are replaced by a placeholder, so that the rest is still read at once.
        if not shape.fits(content):
            texts = [content[first : first + length] for first in range(0, len(content), length)]
            others = [row for row, text in enumerate(texts) if row in others or not shape.fits(text)]
            for row in others:
                texts[row] = shape.placeholder
            content = b"".join(texts)
        moments, missing = shape.moments(content), []
        for row in others:
            if (moment := one(items[row])) is None:
                missing.append(row)
            else:
                moments[row] = moment
        return Moments(moments, missing)

    return read


class _Plain:
    """A concatenation of timestamps in the form of a sample: digits in the same places, all else equal."""

    def __init__(self, sample: bytes, zone: bytes) -> None:
        self.placeholder = sample
        self._length = len(sample)
        self._form = sample.translate(_ZEROS)
        self._piece = LENGTH.pack(len(sample)) + self._form
        self._local = np.dtype((np.bytes_, len(sample) - len(zone)))

    def fits(self, content: bytes) -> bool:
        """Return whether NumPy reads them like `datetime.fromisoformat`, which refuses the year 0."""
        count = len(content) // self._length
        return content.translate(_ZEROS) == self._form * count and b"0000-" not in content

    def fits_all(self, columns: Sequence[Texts]) -> bool:
        """Return the same of texts with their lengths between them."""
        return all(
            content.translate(_ZEROS) == self._piece * size and b"0000-" not in content for content, size in columns
        )

    def moments(self, content: bytes, offset: int = 0) -> Array:
        """Return the timestamps as datetime64[us]; `offset` bytes are before each."""
        step = offset + self._length
        return np.ndarray(len(content) // step, self._local, content, offset, (step,)).astype(_MOMENT)


def _of_one_length(items: Sequence[Any], lengths: Mapping[int, _Plain]) -> tuple[bytes, int, list[int]]:
    """Return the concatenated texts of one length, that length, and the rows of another length, filled with a placeholder."""
    texts = [item.encode() if type(item) is str else item for item in items]
    found = [len(text) if type(text) is bytes else 0 for text in texts]
    length = max(lengths.keys() & set(found), default=max(lengths))
    others = [row for row, size in enumerate(found) if size != length]
    for row in others:
        texts[row] = lengths[length].placeholder
    return b"".join(texts), length, others
