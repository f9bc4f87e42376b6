"""Columns as callers send them, among them texts in one piece of bytes."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
LENGTH = struct.Struct("<I")


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
        position, end, length_at = 0, len(content), LENGTH.unpack_from
        try:
            while position < end:
                start = position + LENGTH.size
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
        position, end, step = 0, len(content), LENGTH.size + content[0] if content else 1
        if end == step * self.size:
            return [content[first : first + step] for first in range(0, end, step)]
        pieces = []
        while position < end:
            start, position = position, position + LENGTH.size + content[position]
            pieces.append(content[start:position])
        if position != end or len(pieces) != self.size:
            raise ValueError("its number of elements does not match its shape")
        return pieces


# Numbers and booleans as an array; or Python values, of which texts may be bytes.
Column = Array | Texts | Sequence[Any]


def all_texts(columns: Sequence[Any]) -> Sequence[Texts] | None:
    """Return the columns if all are `Texts`."""
    return columns if {*map(type, columns)} == {Texts} else None


def items_of(columns: Sequence[Column]) -> list[Any]:
    """Return the values of columns, one column after the other; raise ValueError for invalid `Texts`."""
    return [*chain.from_iterable(map(_items, columns))]


def _items(column: Column) -> Sequence[Any]:
    if isinstance(column, Texts):
        return column.items()
    items: Sequence[Any] = column.tolist() if isinstance(column, np.ndarray) else column
    return items
