"""From request rows, or the columns of a table, to the float32 matrix that the model reads.

Rows come from callers and are judged strictly: whatever breaks the schema is reported by row and field, never by value. Tables
come from our own partitions: there, what a caller would be refused for becomes missing.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract import transforms
from contract.errors import BundleError, InvalidRowsError, Problem
from contract.row_program import Fallback, Parser, Row, compiled
from contract.schema import Feature, FeatureSchema, Field


class Encoder:
    """Encodes rows and tables by a schema. Thread-safe: it has no state but the schema's."""

    def __init__(self, schema: FeatureSchema) -> None:
        self._parsers = [(field.name, _parser(field)) for field in schema.fields]
        self._names = frozenset(field.name for field in schema.fields)
        positions = {field.name: index for index, field in enumerate(schema.fields)}
        try:
            self._features = [
                (transforms.make(feature.transform, feature.options), *_two(positions[name] for name in feature.inputs))
                for feature in schema.features
            ]
        except ValueError as error:
            raise BundleError(f"the feature schema cannot be used: {error}") from error
        self._encode = compiled(
            schema,
            [parse for _, parse in self._parsers],
            {field.name: _bounds(field) for field in schema.fields if field.kind == "number"},
            [transform for transform, _, _ in self._features],
            _known(schema.features),
        )

    def encode_rows(self, rows: Sequence[Row]) -> tuple[NDArray[np.float32], list[list[Fallback]]]:
        """The matrix of `rows`, and for each row the fallbacks that its encoding took.

        Returns:
            float32 of shape (rows, features), NaN where a value is missing; and per row a list of `{"field", "problem"}`, the
            problem being `missing` or `unknown category`.

        Raises:
            InvalidRowsError: with every problem of every row.
        """
        encoded: list[float] = []
        try:
            fallbacks = [self._encode(row, encoded) for row in rows]
        except (ValueError, AttributeError):
            if problems := self._problems(rows):
                raise InvalidRowsError("the rows do not fit the model's schema", problems) from None
            raise
        return np.array(encoded, dtype=np.float32).reshape(len(rows), len(self._features)), fallbacks

    def encode_columns(self, columns: Mapping[str, Sequence[Any]]) -> NDArray[np.float32]:
        """The matrix of a table given as columns of equal length, one for every field of the schema.

        Values that a request would be refused for (out of range, of another type, NaN) are taken as missing.
        """
        if absent := [name for name in sorted(self._names) if name not in columns]:
            raise InvalidRowsError(
                "the table lacks columns of the schema", [Problem(None, name, "absent") for name in absent]
            )
        parsed = [_parse_leniently(parse, columns[name]) for name, parse in self._parsers]
        size = len(parsed[0]) if parsed else 0
        matrix = np.empty((size, len(self._features)), dtype=np.float32)
        for column, (transform, first, second) in enumerate(self._features):
            inputs = [parsed[first]] if second is None else [parsed[first], parsed[second]]
            matrix[:, column] = np.fromiter(map(transform, *inputs), np.float32, size)
        return matrix

    def _problems(self, rows: Sequence[Row]) -> list[Problem]:
        problems: list[Problem] = []
        for index, row in enumerate(rows):
            if not isinstance(row, Mapping):
                problems.append(Problem(index, None, "is not an object of field names and values"))
                continue
            unknown = sorted(str(name) for name in row.keys() - self._names)
            problems += [Problem(index, name[:100], "unknown field") for name in unknown]
            for name, parse in self._parsers:
                try:
                    parse(row.get(name))
                except ValueError as error:
                    problems.append(Problem(index, name, str(error)))
        return problems


def _two(inputs: Iterable[int]) -> tuple[int, int | None]:
    """The positions of a feature's one or two inputs."""
    first, *more = inputs
    return first, more[0] if more else None


def _known(features: Sequence[Feature]) -> dict[str, frozenset[str]]:
    """By field, the categories that all features made from it know."""
    known: dict[str, frozenset[str]] = {}
    for feature in features:
        if feature.transform in ("category", "lookup"):
            categories = frozenset(feature.options["categories" if feature.transform == "category" else "table"])
            name = feature.inputs[0]
            known[name] = known.get(name, categories) & categories
    return known


def _parse_leniently(parse: Parser, column: Sequence[Any]) -> list[Any]:
    known: dict[Any, Any] = {None: None}
    parsed = []
    for value in column:
        if value not in known:
            try:
                known[value] = parse(value)
            except ValueError:
                known[value] = None
        parsed.append(known[value])
    return parsed


def _parser(field: Field) -> Parser:
    """A function from a request's value to the parsed one, or None where an optional field is missing.

    It raises ValueError with a message that never holds the value.
    """
    if field.kind == "number":
        return _number_parser(field)
    return {"category": _category_parser, "timestamp": _timestamp_parser, "boolean": _boolean_parser}[field.kind](
        field.required
    )


def _check_missing(value: Any, required: bool, problem: str) -> None:
    """Raises ValueError unless the value that a parser did not take is None, and may be: else it has the `problem`."""
    if value is not None:
        raise ValueError(problem)
    if required:
        raise ValueError("required, but missing")


def _bounds(field: Field) -> tuple[float, float]:
    """Neither NaN is within them, nor the infinities, nor whole numbers that no double holds."""
    low = -sys.float_info.max if field.minimum is None else field.minimum
    high = sys.float_info.max if field.maximum is None else field.maximum
    return low, high


def _number_parser(field: Field) -> Parser:
    required = field.required
    low, high = _bounds(field)

    def parse(value: Any) -> float | None:
        if (type(value) is float or type(value) is int) and low <= value <= high:
            return float(value)
        _check_missing(value, required, _number_problem(field, value))
        return None

    return parse


def _number_problem(field: Field, value: Any) -> str:
    if type(value) is not float and type(value) is not int:
        return "must be a number"
    if not -sys.float_info.max <= value <= sys.float_info.max:
        return "must be a finite number"
    low = -math.inf if field.minimum is None else field.minimum
    high = math.inf if field.maximum is None else field.maximum
    return f"must be between {low:g} and {high:g}" + (f" {field.unit}" if field.unit else "")


def _category_parser(required: bool) -> Parser:
    def parse(value: Any) -> str | None:
        if type(value) is str:
            return value
        if type(value) is int:
            return str(value)
        _check_missing(value, required, "must be a string")
        return None

    return parse


def _timestamp_parser(required: bool) -> Parser:
    problem = "must be a timestamp such as 2013-12-24T17:30"

    def parse(value: Any) -> datetime | None:
        if type(value) is str:
            try:
                value = datetime.fromisoformat(value)
            except ValueError:
                raise ValueError(problem) from None
        if not isinstance(value, datetime):
            _check_missing(value, required, problem)
            return None
        if value.tzinfo is not None:
            raise ValueError("must be a local timestamp, without an offset")
        return value

    return parse


def _boolean_parser(required: bool) -> Parser:
    def parse(value: Any) -> bool | None:
        if type(value) is bool:
            return value
        _check_missing(value, required, "must be true or false")
        return None

    return parse
