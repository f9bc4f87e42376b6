"""The parsing of a field's column, sent by a caller.

Most values are canonical or nearly so, and NumPy converts them a whole column at a time; others go through the field's parser.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from contract.model.row_program import Parser
from contract.schema.fields import Field
from contract.schema.kinds import KINDS

Array = NDArray[Any]
_LENGTH = struct.Struct("<I")

_MOMENT = np.dtype("M8[us]")
# Any digit to 0, by which all timestamps of one form become equal.
_ZEROS = bytes.maketrans(b"123456789", b"000000000")
_MINUTES, _SECONDS = b"1970-01-01T00:00", b"1970-01-01T00:00:00"


class Texts(NamedTuple):
    """A column of UTF-8 texts as one piece of bytes, each behind its length (4 bytes, little-endian), as a BYTES tensor has them.

    Attributes:
        size: the number of texts that it must hold.
    """

    content: bytes
    size: int

    def items(self) -> list[bytes]:
        """Return the texts; raise ValueError unless there are `size` whole ones."""
        items, content = [], self.content
        position, end, length_at = 0, len(content), _LENGTH.unpack_from
        try:
            while position < end:
                start = position + _LENGTH.size
                position = start + length_at(content, position)[0]
                items.append(content[start:position])
        except struct.error:
            raise ValueError("ends within the length of an element") from None
        if position > end:
            raise ValueError("ends within an element")
        if len(items) != self.size:
            raise ValueError(f"holds {len(items)} elements, but its shape says {self.size}")
        return items

    def pieces(self) -> list[bytes]:
        """Return the texts with their lengths, if all are shorter than 256 bytes.

        It is twice as fast as `items`, since it looks at the first byte of a length only: a piece is a text with its length if it
        starts with that length; otherwise the whole result is meaningless.
        """
        content = self.content
        position, end, step = 0, len(content), _LENGTH.size + content[0] if content else 1
        if end == step * self.size:
            return [content[first : first + step] for first in range(0, end, step)]
        pieces = []
        while position < end:
            start, position = position, position + _LENGTH.size + content[position]
            pieces.append(content[start:position])
        if position != end or len(pieces) != self.size:
            raise ValueError("its number of elements does not match its shape")
        return pieces


# Numbers and booleans as an array; or Python values, of which texts may be bytes.
Column = Array | Texts | Sequence[Any]


class Coded:
    """A parsed column of categories.

    Attributes:
        codes: position of each row's category among the known ones; arbitrary in the rows of `others`.
        others: canonical values that are not known categories, by row; None where missing.
    """

    __slots__ = ("codes", "others")

    def __init__(self, codes: Array, others: dict[int, Any]) -> None:
        self.codes, self.others = codes, others

    def rows(self, *, missing: bool) -> list[int]:
        """Return the rows of `others` with missing values, or those with unknown categories."""
        return [row for row, value in self.others.items() if (value is None) is missing]


class Moments(NamedTuple):
    """A parsed column of timestamps, datetime64[us], arbitrary in the rows of `missing`."""

    at: Array
    missing: list[int]


Parsed = Array | Coded | Moments | list[Any]
Reader = Callable[[Column], Parsed]


def reader(field: Field, parse: Parser, known: Sequence[str]) -> Reader:
    """Return the function from a column to its parsed column; it raises ValueError for a value that violates the schema.

    Returns:
        For numbers and booleans an array, NaN for missing, whose bounds are not checked; for categories `Coded`; for timestamps
        `Moments`, or canonical values if the field's texts are not plain ISO 8601.
    """
    one = _one(parse, is_optional=not field.required)
    canonical = KINDS[field.kind].canonical
    if canonical is str:
        return _categories(one, known)
    if canonical is datetime:
        is_plain = field.kind == "timestamp" and not (field.missing or field.unit or field.format)
        return (
            _timestamps(one, b"Z" if field.zone else b"") if is_plain else lambda column: list(map(one, _items(column)))
        )
    return _numbers(one, "b" if canonical is bool else "fiu" if field.kind == "number" else "f")


def _one(parse: Parser, *, is_optional: bool) -> Parser:
    """Return a parser of values in columns: text may be bytes, and NaN is missing in an optional field."""

    def one(value: Any) -> Any:
        if type(value) is bytes:
            return parse(value.decode())
        return parse(None if is_optional and value != value else value)

    return one


def _items(column: Column) -> Sequence[Any]:
    if isinstance(column, Texts):
        return column.items()
    items: Sequence[Any] = column.tolist() if isinstance(column, np.ndarray) else column
    return items


def _numbers(one: Parser, kinds: str) -> Reader:
    def read(column: Column) -> Array:
        if isinstance(column, np.ndarray) and column.dtype.kind in kinds:
            return column
        return np.array(list(map(one, _items(column))), np.float64)

    return read


def _categories(one: Parser, known: Sequence[str]) -> Reader:
    by_text = {name: code for code, name in enumerate(known)}
    by_bytes, by_piece = {}, {}
    for name, code in by_text.items():
        # JSON can carry a lone surrogate, which has no bytes, so no tensor sends it.
        with suppress(UnicodeEncodeError):
            text = name.encode()
            by_bytes[text] = by_piece[_LENGTH.pack(len(text)) + text] = code

    def read(column: Column) -> Coded:
        if type(column) is Texts:
            with suppress(ValueError):  # a long text, or an invalid one, which is found again
                return coded(column.pieces(), by_piece, _LENGTH.size)
        items = _items(column)
        return coded(items, by_bytes if type(items[0]) is bytes else by_text, 0)

    def coded(items: Sequence[Any], by_item: Mapping[Any, int], start: int) -> Coded:
        codes: list[Any] = list(map(by_item.get, items))
        others = {}
        if None in codes:
            # Unknown texts repeat too, and only the field's parser knows which of them stand for a missing value.
            canonical: dict[Any, Any] = {}
            for row in [row for row, code in enumerate(codes) if code is None]:
                item = items[row]
                if item not in canonical:
                    if start and not item.startswith(_LENGTH.pack(len(item) - start)):
                        raise ValueError("not a piece")
                    canonical[item] = one(item[start:] if start else item)
                value = canonical[item]
                if (code := by_text.get(value)) is None:
                    code, others[row] = 0, value
                codes[row] = code
        return Coded(np.frombuffer(array("q", codes), np.int64), others)

    return read


def _timestamps(one: Parser, zone: bytes) -> Reader:
    plain = {len(text): _Plain(text, zone) for text in (_MINUTES + zone, _SECONDS + zone)}

    def read(column: Column) -> Moments:
        if type(column) is Texts:
            for shape in plain.values():
                if shape.fits_all(column):
                    return Moments(shape.moments(column.content, _LENGTH.size), [])
        content, length, others = _of_one_length(column, plain)
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
            if (moment := one(_items(column)[row])) is None:
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
        self._piece = _LENGTH.pack(len(sample)) + self._form
        self._local = np.dtype((np.bytes_, len(sample) - len(zone)))

    def fits(self, content: bytes) -> bool:
        """Return whether NumPy reads them like `datetime.fromisoformat`, which refuses the year 0."""
        count = len(content) // self._length
        return content.translate(_ZEROS) == self._form * count and b"0000-" not in content

    def fits_all(self, column: Texts) -> bool:
        """Return the same of texts with their lengths between them."""
        content = column.content
        return content.translate(_ZEROS) == self._piece * column.size and b"0000-" not in content

    def moments(self, content: bytes, offset: int = 0) -> Array:
        """Return the timestamps as datetime64[us]; `offset` bytes are before each."""
        step = offset + self._length
        return np.ndarray(len(content) // step, self._local, content, offset, (step,)).astype(_MOMENT)


def _of_one_length(column: Column, lengths: Mapping[int, _Plain]) -> tuple[bytes, int, list[int]]:
    """Return the concatenated texts of one length, that length, and the rows of another length, filled with a placeholder."""
    texts = [item.encode() if type(item) is str else item for item in _items(column)]
    found = [len(text) if type(text) is bytes else 0 for text in texts]
    length = max(lengths.keys() & set(found), default=max(lengths))
    others = [row for row, size in enumerate(found) if size != length]
    for row in others:
        texts[row] = lengths[length].placeholder
    return b"".join(texts), length, others
