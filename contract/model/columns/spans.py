"""Rows of several requests, encoded one after the other and told apart afterwards."""

from __future__ import annotations

from functools import lru_cache
from itertools import accumulate
from typing import NamedTuple

import numpy as np

from contract.model.columns.texts import Array

REMEMBERED = 64  # combinations of numbers of rows


class Spans(NamedTuple):
    """The rows of requests one after the other.

    Attributes:
        ends: where the rows of each request end.
        of: of each row, its request.
        own: of each row, its number in its request.
    """

    ends: tuple[int, ...]
    of: list[int]
    own: Array

    def rows(self, positions: Array) -> list[int]:
        """Return the rows in their requests of positions in a block of fields × rows."""
        rows = positions % self.ends[-1]
        found: list[int] = (rows if len(self.ends) == 1 else self.own.take(rows)).tolist()
        return found

    def split(self, rows: list[int]) -> list[list[int]]:
        """Return the rows of each request, as numbered in it."""
        if len(self.ends) == 1:
            return [rows]
        split: list[list[int]] = [[] for _ in self.ends]
        for row, own in zip(rows, self.own.take(rows).tolist(), strict=True):
            split[self.of[row]].append(own)
        return split


@lru_cache(maxsize=REMEMBERED)
def spans_of(sizes: tuple[int, ...]) -> Spans:
    """Return the rows of requests of these sizes."""
    of = np.repeat(np.arange(len(sizes)), sizes)
    ends = tuple(accumulate(sizes))
    return Spans(ends, of.tolist(), np.arange(ends[-1]) - (np.array(ends) - sizes).take(of))
