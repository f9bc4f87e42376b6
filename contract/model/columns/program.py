"""The check and encoding of the columns of a request or a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.model.columns import transforms as column_transforms
from contract.model.columns.categories import Categories, Coded
from contract.model.columns.numbers import Numbers
from contract.model.columns.readers import Moments, Parsed, Reader, reader, value_parser
from contract.model.columns.spans import spans_of
from contract.model.columns.texts import Array, Column
from contract.model.columns.transforms import ColumnTransform
from contract.model.row_program import Fallback, Parser, Row
from contract.model.transforms import Function
from contract.schema.kinds import KINDS
from contract.schema.schema import FeatureSchema, Field

_FP64 = np.dtype("<f8")
Assumed = list[tuple[Fallback, list[int]]]  # each fallback taken, with its rows
Matrix = NDArray[np.float32]
Maker = Callable[[Sequence[Parsed]], Array | list[float]]


@dataclass(slots=True)
class Columns:
    """The columns of a request, of equal length.

    Attributes:
        values: the sent columns, by field, without those of the block.
        size: number of rows.
        rows: returns the same as rows, which name their problems; raises RequestError if they cannot be made.
        block: all columns of `block_fields`, if each is float64 (little-endian bytes) with NaN for missing.
        of_block: the sent columns that are in the block.
    """

    values: Mapping[str, Column]
    size: int
    rows: Callable[[], list[Row]]
    block: Sequence[bytes] | None = None
    of_block: frozenset[str] = frozenset()


def block_fields(schema: FeatureSchema) -> list[Field]:
    """Return the numbers and booleans, which are checked and encoded together."""
    return [field for field in schema.fields if KINDS[field.kind].canonical in (float, bool)]


class ColumnProgram:
    """The encoder of columns.

    Args:
        parsers, bounds, functions, closed: those of `contract.model.row_program.compiled`.

    Attributes:
        categories: the known categories of the fields that have any, in the order of their codes.
    """

    def __init__(
        self,
        schema: FeatureSchema,
        parsers: Sequence[Parser],
        bounds: Mapping[str, tuple[float, float]],
        functions: Sequence[Function],
        closed: Mapping[str, frozenset[str]],
    ) -> None:
        known = self.categories = {name: sorted(categories) for name, categories in closed.items()}
        place = {field.name: index for index, field in enumerate(schema.fields)}
        ones = [
            value_parser(parse, is_optional=not field.required)
            for field, parse in zip(schema.fields, parsers, strict=True)
        ]
        self._texts = [
            index for index, field in enumerate(schema.fields) if KINDS[field.kind].canonical is str
        ]  # places of categories
        self._categories = Categories(
            [(ones[index], known.get(schema.fields[index].name, ())) for index in self._texts]
        )
        self._fields = [(field.name, field.required) for field in schema.fields]
        self._readers = [
            (index, reader(field, ones[index])) for index, field in enumerate(schema.fields) if index not in self._texts
        ]
        self._missing = [{"field": field.name, "problem": "missing"} for field in schema.fields]
        self._unknown = [(place[name], {"field": name, "problem": "unknown category"}) for name in closed]
        self._numbers = Numbers([place[field.name] for field in block_fields(schema)], schema.fields, bounds)
        self._others = [place for place in range(len(schema.fields)) if place not in self._numbers.places]
        self._other_readers = [entry for entry in self._readers if entry[0] not in self._numbers.places]
        self._without_numbers: list[Parsed] = [[]] * len(schema.fields)
        self._width = len(schema.features)
        # Numbers that are features unchanged are copied from the block to the matrix all at once.
        plain: list[tuple[int, int]] = []
        self._made: list[tuple[int, Maker]] = []
        spread: set[int] = set()
        for index, (feature, function) in enumerate(zip(schema.features, functions, strict=True)):
            inputs = [place[name] for name in feature.inputs]
            if feature.transform == "value" and inputs[0] in self._numbers.places:
                plain.append((index, self._numbers.places.index(inputs[0])))
            else:
                by_column = column_transforms.make(feature.transform, feature.options)
                self._made.append((index, _maker(inputs, function, by_column, known.get(feature.inputs[0], ()))))
                spread.update(inputs)
        self._plain, self._of_block = map(_compact, np.array(plain, np.intp).reshape(-1, 2).T)
        self._spread = [(place, row) for row, place in enumerate(self._numbers.places) if place in spread]

    def requests(self, requests: Sequence[Columns]) -> tuple[Matrix, list[Assumed]]:
        """Return the matrix of requests, one after the other, and the fallbacks of each, ordered by their first rows.

        Raises:
            ValueError: a value violates the schema, or the requests differ in their columns.
        """
        blocks = [request.block for request in requests if request.block is not None]
        spans = spans_of(tuple([request.size for request in requests]))
        size, parsed = spans.ends[-1], self._without_numbers[:]
        for place, read in self._other_readers if blocks else self._readers:
            columns = self._sent(requests, place)
            parsed[place] = read(columns) if columns else _absent(size, read)
        texts = [self._sent(requests, place) or [[None] * size] for place in self._texts]
        for place, coded in zip(self._texts, self._categories.read(texts), strict=True):
            parsed[place] = coded
        if not blocks:
            block = self._numbers.joined(parsed, size)
        elif len(blocks) < len(requests):
            raise ValueError("the requests differ in the form of their numbers")
        else:  # of a bytearray, since it will be changed; an array over bytes is read-only
            content = bytearray().join(chain.from_iterable(zip(*blocks, strict=True)))
            block = np.frombuffer(content, _FP64).reshape(-1, size)
        missing = self._numbers.checked(block, spans)
        for place in self._others:
            if rows := _missing(parsed[place]):
                for found, own in zip(missing, spans.split(rows), strict=True):
                    if own:
                        found[place] = own
        assumed = [[(self._missing[place], found[place]) for place in sorted(found)] for found in missing]
        for place, fallback in self._unknown:
            categories = parsed[place]
            if isinstance(categories, Coded) and categories.others and (rows := categories.rows(missing=False)):
                for taken, own in zip(assumed, spans.split(rows), strict=True):
                    if own:
                        taken.append((fallback, own))
        for taken in assumed:
            taken.sort(key=_first_row)
        return self._matrix(parsed, block), assumed

    def _sent(self, requests: Sequence[Columns], place: int) -> list[Column]:
        """Return the columns of a field, none if it was not sent; raise ValueError if it is required, or sent by some requests only."""
        name, required = self._fields[place]
        columns = [request.values[name] for request in requests if name in request.values]
        if len(columns) != len(requests) and (columns or required):
            raise ValueError("a column is absent")
        return columns

    def table(self, values: Sequence[Parsed], size: int) -> Matrix:
        """Return the matrix of the fields' canonical values: parsed columns, or lists with None for missing."""
        parsed: list[Parsed] = list(values)
        for place in self._numbers.places:
            parsed[place] = np.asarray(values[place], np.float64)
        return self._matrix(parsed, self._numbers.joined(parsed, size))

    def _matrix(self, parsed: list[Parsed], block: Array) -> Matrix:
        for place, row in self._spread:
            parsed[place] = block[row]
        matrix = np.empty((block.shape[1], self._width), np.float32)
        columns = matrix.T
        columns[self._plain] = block[self._of_block]
        for index, make in self._made:
            columns[index] = make(parsed)
        return matrix


def _compact(places: Array) -> Any:
    """Return a slice of consecutive places, which NumPy copies in less time."""
    first = int(places[0]) if len(places) else 0
    is_consecutive = places.tolist() == list(range(first, first + len(places)))
    return slice(first, first + len(places)) if is_consecutive else places


def _maker(inputs: Sequence[int], function: Function, by_column: ColumnTransform | None, known: Sequence[str]) -> Maker:
    """Return what makes a feature of the parsed columns: of whole columns where that can be, else value by value."""
    of_known = np.array([*map(function, known), np.nan], np.float32)  # by code
    first_input, of_one = inputs[0], by_column if len(inputs) == 1 else None

    def make(parsed: Sequence[Parsed]) -> Array | list[float]:
        first = parsed[first_input]
        if type(first) is Coded:
            numbers = of_known.take(first.codes)
            for row, value in first.others.items():
                numbers[row] = function(value)
            return numbers
        if of_one is not None and type(first) is Moments and not first.missing:
            return of_one(first.at)
        columns: list[Any] = [parsed[place] for place in inputs]
        if by_column is None or any(type(column) is list for column in columns):
            return list(map(function, *map(_values, columns)))
        arrays = [column.at if type(column) is Moments else column for column in columns]
        made = by_column(*arrays)
        if missing := [row for column in columns if type(column) is Moments for row in column.missing]:
            made = made.astype(np.float32)
            made[missing] = np.nan
        return made

    return make


def _first_row(entry: tuple[Fallback, list[int]]) -> int:
    return entry[1][0]


def _absent(size: int, read: Reader) -> Parsed:
    missing = read([[None]])
    return np.repeat(missing, size) if isinstance(missing, np.ndarray) else read([[None] * size])  # numbers are most


def _values(column: Array | Moments | list[Any]) -> list[Any]:
    """Return the canonical values of a column; booleans as 0.0 and 1.0."""
    if isinstance(column, list):
        return column
    if isinstance(column, Moments):
        values: list[Any] = column.at.tolist()
        for row in column.missing:
            values[row] = None
        return values
    return [None if value != value else value for value in column.tolist()]


def _missing(column: Parsed) -> list[int]:
    """Return the rows with missing values."""
    if isinstance(column, Moments):
        return column.missing
    if isinstance(column, Coded):
        return column.rows(missing=True) if column.others else []
    return [row for row, value in enumerate(column) if value is None]
