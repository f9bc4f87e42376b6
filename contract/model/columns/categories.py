"""The parsing of columns of categories, sent by a caller or by several, to codes."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, MutableSequence, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np

from contract.model.columns.texts import LENGTH, Array, Column, Texts, all_texts, items_of
from contract.model.row_program import Parser

_WORD = np.dtype("<u8")
_WORD_BYTES = _WORD.itemsize
_EXACT_BYTES = 2 * _WORD_BYTES - LENGTH.size  # of a text that two words hold with its length
_MASKS = np.array([256**size - 1 for size in range(_WORD_BYTES + 1)], _WORD)  # of the first bytes of a word
_MIXED = np.array(0x9E3779B97F4A7C15, _WORD)  # an odd number: the golden ratio of 2**64 (Knuth, TAOCP 3, section 6.4)
_END = b"\xff" * _WORD_BYTES  # after the last piece, so that a word may begin in it; no length begins so
_ZERO = np.zeros((), np.uint8)
_LONGEST = 255  # bytes of a text whose length is one byte and three zeros
_PASSES = 3  # that drop bytes which are no lengths, each at least the first of them


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


class Categories:
    """The reader of all fields of categories.

    Args:
        fields: of each field the parser of a value that is not known as it was sent, and the known categories.
    """

    def __init__(self, fields: Sequence[tuple[Parser, Sequence[str]]]) -> None:
        self._fields = [_Field(*field) for field in fields]
        self._is_long = any(field.table.is_long for field in self._fields if field.table is not None)

    def read(self, given: Sequence[Sequence[Column]]) -> list[Coded]:
        """Return the codes of each field's columns; raise ValueError for a value that violates the schema."""
        # For one request a dictionary is faster: behind a prediction, the 30 functions of NumPy are out of the processor's caches.
        if max(map(len, given), default=1) == 1:
            return [field.by_value(columns) for field, columns in zip(self._fields, given, strict=True)]
        texts = [
            all_texts(columns) if field.table else None for field, columns in zip(self._fields, given, strict=True)
        ]
        pieces = _pieces([column for columns in texts if columns for column in columns], is_long=self._is_long)
        first, coded = 0, []
        for field, columns, of_field in zip(self._fields, given, texts, strict=True):
            if of_field is None or field.table is None or pieces is None:
                coded.append(field.by_value(columns))
            else:
                end = first + sum([column.size for column in of_field])
                codes, rows, unknown = field.table.find(pieces, first, end)
                coded.append(Coded(codes, field.others(codes, rows, unknown, LENGTH.size)))
                first = end
        return coded


class _Field:
    def __init__(self, one: Parser, known: Sequence[str]) -> None:
        self._one = one
        self._by_text = {name: code for code, name in enumerate(known)}
        self._by_bytes, self._by_piece = {}, {}
        for name, code in self._by_text.items():
            # JSON can carry a lone surrogate, which has no bytes, so no tensor sends it.
            with suppress(UnicodeEncodeError):
                text = name.encode()
                self._by_bytes[text] = self._by_piece[LENGTH.pack(len(text)) + text] = code
        is_exact = max(map(len, self._by_bytes), default=_LONGEST) <= _EXACT_BYTES
        self.table = _Table(self._by_bytes) if is_exact else None

    def by_value(self, columns: Sequence[Column]) -> Coded:
        """Return the column of these columns, each value looked up by itself."""
        if len(columns) == 1:
            return self._by_value(columns[0])
        parts, others, first = [self._by_value(column) for column in columns], {}, 0
        for part in parts:
            others.update({first + row: value for row, value in part.others.items()})
            first += len(part.codes)
        return Coded(np.concatenate([part.codes for part in parts]), others)

    def _by_value(self, column: Column) -> Coded:
        if isinstance(column, Texts):
            with suppress(ValueError):  # a long text, or an invalid one, which is found again
                return self._looked_up(column.pieces(), self._by_piece, LENGTH.size)
        items = items_of([column])
        return self._looked_up(items, self._by_bytes if type(items[0]) is bytes else self._by_text, 0)

    def _looked_up(self, items: Sequence[Any], code_of: Mapping[Any, int], start: int) -> Coded:
        codes: list[Any] = list(map(code_of.get, items))
        others: dict[int, Any] = {}
        if None in codes:
            rows = [row for row, code in enumerate(codes) if code is None]
            others = self.others(codes, rows, [items[row] for row in rows], start)
        return Coded(np.frombuffer(array("q", codes), np.int64), others)

    def others(
        self, codes: MutableSequence[int] | Array, rows: Sequence[int], unknown: Sequence[Any], start: int
    ) -> dict[int, Any]:
        """Return the canonical values that are not known, by row; set the codes of those that are, though not as they were sent.

        Args:
            unknown: the values of the rows, behind lengths of `start` bytes.
        """
        others = {}
        # Unknown texts repeat too, and only the field's parser knows which of them stand for a missing value.
        canonical: dict[Any, Any] = {}
        for row, item in zip(rows, unknown, strict=True):
            if item not in canonical:
                if start and not item.startswith(LENGTH.pack(len(item) - start)):
                    raise ValueError("not a piece")
                canonical[item] = self._one(item[start:] if start else item)
            value = canonical[item]
            if (code := self._by_text.get(value)) is None:
                code, others[row] = 0, value
            codes[row] = code
        return others


class _Pieces(NamedTuple):
    """Texts behind their lengths, those of all columns in one piece of bytes.

    Attributes:
        starts, ends: of each.
        first, last: its first and last eight bytes as numbers, with zeros after a shorter one; `last` only if there are long categories.
    """

    content: bytes
    starts: Array
    ends: Array
    first: Array
    last: Array


class _Table:
    """Known texts of at most 12 bytes, found by NumPy in a third of the time of a dictionary; their first and last bytes tell them apart.

    Attributes:
        is_long: some are longer than the first bytes show.
    """

    def __init__(self, codes: Mapping[bytes, int]) -> None:
        self.is_long = max(map(len, codes)) > _WORD_BYTES - LENGTH.size
        content = b"".join([LENGTH.pack(len(text)) + text for text in codes])
        ends = np.cumsum([LENGTH.size + len(text) for text in codes])
        starts = np.concatenate([[0], ends[:-1]])
        first, last = _words(content + _END, starts, ends, is_long=self.is_long)
        keys = self._keys_of(first, last)
        order = keys.argsort()
        self._keys, self._first, self._last = keys[order], first[order], last[order]
        self._codes = np.array([*codes.values()])[order]

    def find(self, pieces: _Pieces, begin: int, end: int) -> tuple[Array, list[int], list[bytes]]:
        """Return the codes of these pieces, arbitrary for unknown ones, and the rows and the bytes of these."""
        first, last = pieces.first[begin:end], pieces.last[begin:end]
        place = self._keys.searchsorted(self._keys_of(first, last))
        is_known = self._first.take(place, mode="clip") == first
        if self.is_long:
            is_known &= self._last.take(place, mode="clip") == last
        rows = (~is_known).nonzero()[0]
        starts, ends = pieces.starts.take(rows + begin).tolist(), pieces.ends.take(rows + begin).tolist()
        unknown = [pieces.content[start:end] for start, end in zip(starts, ends, strict=True)]
        return self._codes.take(place, mode="clip"), rows.tolist(), unknown

    def _keys_of(self, first: Array, last: Array) -> Array:
        return first ^ last * _MIXED if self.is_long else first


def _pieces(columns: Sequence[Texts], *, is_long: bool) -> _Pieces | None:
    """Return the pieces of columns; None if there are none, a text is longer than 255 bytes, or a column does not hold its number.

    Wherever three zeros follow a byte, that byte may be the length of a text; an empty text has such a byte before it, too. All of them are
    lengths if each piece begins where the one before it ends.
    """
    if not columns:
        return None
    content = b"".join([*[column.content for column in columns], _END])
    numbers = np.frombuffer(content, np.uint8)
    is_zero = numbers == _ZERO
    may_start = is_zero[1:-2] & is_zero[2:-1]
    may_start &= is_zero[3:]
    starts = may_start.nonzero()[0]
    ends = numbers.take(starts) + (starts + LENGTH.size)
    rows = sum([column.size for column in columns])
    for _ in range(_PASSES):
        if len(starts) <= rows:
            break
        follows = np.zeros(len(content) + LENGTH.size + _LONGEST, np.bool_)
        follows[0] = follows[ends] = True
        is_followed = follows[starts]
        starts, ends = starts[is_followed], ends[is_followed]
    if len(starts) != rows or starts[1:].tobytes() != ends[:-1].tobytes():
        return None
    row = position = 0
    for column in columns:
        if starts[row] != position:
            return None
        row, position = row + column.size, position + len(column.content)
    if ends[-1] != position:
        return None
    return _Pieces(content, starts, ends, *_words(content, starts, ends, is_long=is_long))


def _words(content: bytes, starts: Array, ends: Array, *, is_long: bool) -> tuple[Array, Array]:
    words: Array = np.ndarray(len(content) - _WORD_BYTES + 1, _WORD, content, 0, (1,))
    masks = _MASKS.take(ends - starts, mode="clip")
    first = words.take(starts) & masks
    return first, words.take(np.maximum(ends - _WORD_BYTES, starts)) & masks if is_long else first
