"""The numbers and booleans of a request or a table, checked and encoded together as one block of float64, fields × rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import chain, pairwise, product
from typing import Any

import numpy as np

from contract.model.columns.readers import Parsed
from contract.model.columns.spans import REMEMBERED, Spans
from contract.model.columns.texts import Array
from contract.schema.fields import Field
from contract.schema.texts import missing_numbers


class Numbers:
    """The numbers and booleans, checked and encoded together as one block.

    Args:
        places: those of these fields among all fields.
    """

    def __init__(
        self, places: Sequence[int], fields: Sequence[Field], bounds: Mapping[str, tuple[float, float]]
    ) -> None:
        self.places = places
        of_block = [fields[place] for place in places]
        limits = [bounds.get(field.name, (0.0, 1.0)) for field in of_block]
        self._low, self._high = np.array(limits, np.float64).reshape(-1, 2, 1).swapaxes(0, 1)
        self._zero = np.zeros(())  # NumPy takes an array in half of the time of Python's number
        self._known_cuts = lru_cache(maxsize=REMEMBERED)(self._cuts)
        self._required = {place for place in places if fields[place].required}
        self._sentinels = [
            (index, sorted(numbers))
            for index, field in enumerate(of_block)
            if field.name in bounds and (numbers := missing_numbers(field))
        ]

    def joined(self, parsed: Sequence[Parsed], size: int) -> Array:
        """Return the parsed numbers as float64, fields × rows."""
        arrays: list[Any] = [parsed[place] for place in self.places]
        return np.concatenate([np.empty(0), *arrays], dtype=np.float64).reshape(len(arrays), size)

    def checked(self, block: Array, spans: Spans) -> list[dict[int, list[int]]]:
        """Return for each request the rows with missing values, by the place of the field; raises ValueError for values out of bounds."""
        block += self._zero  # there is one zero: what is -0 becomes 0
        for index, sentinels in self._sentinels:
            block[index, np.isin(block[index], sentinels)] = np.nan
        within = (block >= self._low) & (block <= self._high)  # NaN is not
        absent = block.size - np.count_nonzero(within)
        found: list[dict[int, list[int]]] = [{} for _ in spans.ends]
        if not absent:
            return found
        missing = np.isnan(block)
        positions = missing.ravel().nonzero()[0]
        if len(positions) != absent:
            raise ValueError("a number is out of bounds")
        np.putmask(block, missing, np.nan)  # there are many of them
        rows, cuts = spans.rows(positions), positions.searchsorted(self._known_cuts(spans.ends)).tolist()
        for (place, own), (first, end) in zip(product(self.places, found), pairwise((0, *cuts)), strict=True):
            if first != end:
                own[place] = rows[first:end]
        if not self._required.isdisjoint(chain.from_iterable(found)):
            raise ValueError("a required number is missing")
        return found

    def _cuts(self, ends: tuple[int, ...]) -> Array:
        """Return the ends of each field's requests in the block."""
        return np.add.outer(np.arange(len(self.places)) * ends[-1], ends).ravel()
