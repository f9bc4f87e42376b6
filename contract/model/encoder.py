"""The encoder: request rows, or the columns of a table, to the model's float32 matrix.

Rows of callers are checked strictly: violations of the schema are reported by row and field, never by value. Tables come from our own
partitions, whose values are canonical; a value that a caller would be refused for becomes missing there. Both use the conversion of
`contract.schema.kinds`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.errors import BundleError, InvalidRowsError, Problem, RequestError
from contract.model import sources, transforms
from contract.model.columns.program import Assumed, ColumnProgram, Columns
from contract.model.columns.readers import Parsed
from contract.model.row_program import Fallback, Parser, Row, compiled
from contract.schema import kinds
from contract.schema.schema import FeatureSchema, Field
from contract.schema.texts import missing_numbers

TableColumn = Sequence[Any] | NDArray[np.float64]


class Encoder:
    """An encoder of rows and tables for a schema; thread-safe, since it is immutable.

    Attributes:
        parsers: by field, from a request's value to its canonical form, None if missing; ValueError says what is wrong with the value.
        bounds: of the fields that are numbers.
        sources: the columns of the source that stand for fields.
        categories: the known categories of the fields that have any, in the order of their codes.
    """

    def __init__(self, schema: FeatureSchema) -> None:
        self._parsers = [(field.name, _parser(field)) for field in schema.fields]
        self._names = frozenset(field.name for field in schema.fields)
        self.sources = sources.Sources(schema.fields)
        self._accepted = frozenset(field.name for field in schema.accepted)
        self._width = len(schema.features)
        try:
            made = [transforms.make(feature.transform, feature.options) for feature in schema.features]
        except ValueError as error:
            raise BundleError(f"the feature schema cannot be used: {error}") from error
        parsers = [parse for _, parse in self._parsers]
        self.parsers = dict(self._parsers)
        bounds = self.bounds = {
            field.name: kinds.bounds(field.minimum, field.maximum) for field in schema.fields if kinds.is_bounded(field)
        }
        self._sentinels = {
            field.name: sorted(missing_numbers(field)) for field in schema.fields if field.name in bounds
        }
        closed = _known(schema)
        self._encode = compiled(schema, parsers, bounds, made, closed)
        self._columns = ColumnProgram(schema, parsers, bounds, made, closed)
        self.categories = self._columns.categories

    def encode_rows(self, rows: Sequence[Row]) -> tuple[NDArray[np.float32], list[list[Fallback]]]:
        """Return the matrix of `rows`, and the fallbacks of each row.

        Returns:
            float32 of shape (rows, features), NaN where a value is missing; and per row a list of `{"field", "problem"}`, with the
            problem `missing` or `unknown category`.

        Raises:
            InvalidRowsError: rows violate the schema; it has every problem of every row.
        """
        encoded: list[float] = []
        if self.sources:
            rows = [self.sources.declared(row) for row in rows]
        # The compiled function stops at the first bad value, without saying which: valid rows do not pay for messages.
        try:
            fallbacks = [self._encode(row, encoded) for row in rows]
        except (ValueError, AttributeError):
            if problems := self._problems(rows):
                raise InvalidRowsError("the rows do not fit the model's schema", problems) from None
            raise
        return np.array(encoded, dtype=np.float32).reshape(len(rows), self._width), fallbacks

    def encode_columns(
        self, requests: Sequence[Columns]
    ) -> tuple[NDArray[np.float32], Sequence[Assumed | RequestError]]:
        """Return the matrix of the valid requests, bit for bit that of the same rows one after the other, and what was found in each.

        Returns:
            the matrix as of `encode_rows`; and of each request the fallbacks with their rows, or the error that says why it is invalid.
        """
        if not (self.sources and any(self.sources.concern(each.values.keys() | each.of_block) for each in requests)):
            with suppress(ValueError, TypeError):  # one is invalid, or they differ in their columns
                return self._columns.requests(requests)
        if len(requests) > 1:
            matrices, found = zip(*[self.encode_columns([each]) for each in requests], strict=True)
            return np.concatenate(matrices), [*chain.from_iterable(found)]
        try:
            matrix, fallbacks = self.encode_rows(requests[0].rows())  # names the problems of invalid ones
        except RequestError as error:
            return np.empty((0, self._width), np.float32), [error]
        return matrix, [by_fallback(fallbacks)]

    def encode_table(self, columns: Mapping[str, TableColumn]) -> NDArray[np.float32]:
        """Return the matrix of a table, given as columns of equal length, one for every field of the schema.

        Values for which a request would be refused (out of range, of another type, NaN) count as missing.

        Args:
            columns: lists of values, or of numbers float64 arrays, which take a tenth of the time.
        """
        if absent := [name for name in sorted(self._names) if name not in columns]:
            raise InvalidRowsError(
                "the table lacks columns of the schema", [Problem(None, name, "absent") for name in absent]
            )
        values = [self._read_leniently(name, parse, columns[name]) for name, parse in self._parsers]
        return self._columns.table(values, len(values[0]) if values else 0)

    def _read_leniently(self, name: str, parse: Parser, column: TableColumn) -> list[Any] | NDArray[np.float64]:
        if not isinstance(column, np.ndarray):
            return _parse_leniently(parse, column)
        numbers = column + 0.0  # there is one zero: what is -0 becomes 0
        low, high = self.bounds[name]
        is_taken = (numbers >= low) & (numbers <= high)  # NaN is not
        if sentinels := self._sentinels[name]:
            is_taken &= ~np.isin(numbers, sentinels)
        return np.where(is_taken, numbers, np.nan)

    def encode_parsed(self, columns: Mapping[str, Parsed], size: int) -> NDArray[np.float32]:
        """Return the matrix of checked columns: numbers and booleans as float64, NaN for missing; others as `columns.readers` has them."""
        return self._columns.table([columns[name] for name, _ in self._parsers], size)

    def _problems(self, rows: Sequence[Row]) -> list[Problem]:
        problems: list[Problem] = []
        for index, row in enumerate(rows):
            if not isinstance(row, Mapping):
                # Callers' JSON may hold anything in place of a row.
                problems.append(Problem(index, None, "is not an object of field names and values"))
                continue
            unknown = sorted(str(name) for name in row.keys() - self._accepted)
            # Cut, since a caller chooses the length of a name that comes back in the error and in logs.
            problems += [Problem(index, name[:100], "unknown field") for name in unknown]
            for name, parse in self._parsers:
                value = row.get(name)
                try:
                    if isinstance(value, sources.Refused):
                        raise ValueError(value.problem)
                    parse(value)
                except ValueError as error:
                    problems.append(Problem(index, name, str(error)))
        return problems


def by_fallback(fallbacks: Sequence[Sequence[Fallback]]) -> Assumed:
    """Group the fallbacks of each row: return each one with its rows."""
    rows: dict[tuple[str, str], list[int]] = {}
    for row, taken in enumerate(fallbacks):
        for entry in taken:
            rows.setdefault((entry["field"], entry["problem"]), []).append(row)
    return [({"field": field, "problem": problem}, which) for (field, problem), which in rows.items()]


def _known(schema: FeatureSchema) -> dict[str, frozenset[str]]:
    """Return the canonical categories that all features of a field know, by field."""
    readers = {field.name: kinds.reader(field) for field in schema.fields if kinds.KINDS[field.kind].canonical is str}
    known: dict[str, frozenset[str]] = {}
    for feature in schema.features:
        name, names = feature.inputs[0], transforms.listed(feature)
        if names is not None and name in readers:
            categories = frozenset(entry for entry in names if readers[name](entry) == entry)
            known[name] = known.get(name, categories) & categories
    return known


def _parse_leniently(parse: Parser, column: Sequence[Any]) -> list[Any]:
    # Tables repeat few values, and parsing one costs far more than a look into a dictionary.
    known: dict[Any, Any] = dict.fromkeys(column)
    for value in known:
        if value is not None:
            with suppress(ValueError):
                known[value] = parse(value)
    return list(map(known.__getitem__, column))


def _parser(field: Field) -> Parser:
    """Return the function from a request's value to its canonical form, or None if an optional one is missing.

    It raises ValueError with a message that never contains the value.
    """
    read, required = kinds.reader(field), field.required
    within = _bounds_check(field) if kinds.is_bounded(field) else None

    def parse(value: Any) -> Any:
        if type(value) is float and value != value:  # NaN, which JSON lacks but tensors have
            raise ValueError("must be a finite number")
        parsed = read(value)
        if parsed is None:
            if required:
                raise ValueError("required, but missing")
        elif within is not None:
            within(parsed)
        return parsed

    return parse


def _bounds_check(field: Field) -> Callable[[float], None]:
    low, high = kinds.bounds(field.minimum, field.maximum)
    shown_low = -math.inf if field.minimum is None else field.minimum
    shown_high = math.inf if field.maximum is None else field.maximum
    problem = f"must be between {shown_low:g} and {shown_high:g}" + (f" {field.unit}" if field.unit else "")

    def check(value: float) -> None:
        if not low <= value <= high:
            raise ValueError(problem)

    return check
