"""From request rows, or the columns of a table, to the float32 matrix that the model reads.

Rows come from callers and are judged strictly: whatever breaks the schema is reported by row and field, never by value. Tables
come from our own partitions: there, what a caller would be refused for becomes missing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract import transforms
from contract.errors import BundleError, InvalidRowsError, Problem
from contract.schema import Feature, FeatureSchema, Field

Row = Mapping[str, Any]
Parser = Callable[[Any], Any]


class Encoder:
    """Encodes rows and tables by a schema. Thread-safe: it has no state but the schema's."""

    def __init__(self, schema: FeatureSchema) -> None:
        self._parsers = [(field.name, field.required, _parser(field)) for field in schema.fields]
        self._names = frozenset(field.name for field in schema.fields)
        positions = {field.name: index for index, field in enumerate(schema.fields)}
        try:
            self._features = [
                (transforms.make(feature.transform, feature.options), [positions[name] for name in feature.inputs])
                for feature in schema.features
            ]
        except ValueError as error:
            raise BundleError(f"the feature schema cannot be used: {error}") from error
        self._closed = [
            (column, feature.inputs[0], positions[feature.inputs[0]], _known(feature))
            for column, feature in enumerate(schema.features)
            if feature.transform in ("category", "lookup")
        ]

    def encode_rows(self, rows: Sequence[Row]) -> tuple[NDArray[np.float32], list[list[dict[str, str]]]]:
        """The matrix of `rows`, and for each row the fallbacks that its encoding took.

        Returns:
            float32 of shape (rows, features), NaN where a value is missing; and per row a list of `{"field", "problem"}`, the
            problem being `missing` or `unknown category`.

        Raises:
            InvalidRowsError: with every problem of every row.
        """
        parsed = [self._parse(row) for row in rows]
        if any(values is None for values in parsed):
            raise InvalidRowsError("the rows do not fit the model's schema", self._problems(rows))
        matrix = np.array([self._encode(values) for values in parsed if values is not None], dtype=np.float32)
        fallbacks = [self._fallbacks(values) for values in parsed if values is not None]
        return matrix.reshape(len(rows), len(self._features)), fallbacks

    def encode_columns(self, columns: Mapping[str, Sequence[Any]]) -> NDArray[np.float32]:
        """The matrix of a table given as columns of equal length, one for every field of the schema.

        Values that a request would be refused for (out of range, of another type, NaN) are taken as missing.
        """
        if absent := [name for name in sorted(self._names) if name not in columns]:
            raise InvalidRowsError(
                "the table lacks columns of the schema", [Problem(None, name, "absent") for name in absent]
            )
        parsed = [_parse_leniently(parse, columns[name]) for name, _, parse in self._parsers]
        size = len(parsed[0]) if parsed else 0
        matrix = np.empty((size, len(self._features)), dtype=np.float32)
        for column, (transform, inputs) in enumerate(self._features):
            matrix[:, column] = np.fromiter(map(transform, *(parsed[index] for index in inputs)), np.float32, size)
        return matrix

    def _parse(self, row: Row) -> list[Any] | None:
        """The row's parsed values in the order of the fields; None if anything is wrong with it."""
        try:
            if not row.keys() <= self._names:
                return None
            values = []
            for name, required, parse in self._parsers:
                value = row.get(name)
                if value is not None:
                    value = parse(value)
                elif required:
                    return None
                values.append(value)
        except (ValueError, AttributeError):
            return None
        return values

    def _encode(self, values: list[Any]) -> list[float]:
        return [
            transform(values[inputs[0]]) if len(inputs) == 1 else transform(*(values[index] for index in inputs))
            for transform, inputs in self._features
        ]

    def _fallbacks(self, values: list[Any]) -> list[dict[str, str]]:
        missing = [
            {"field": name, "problem": "missing"}
            for (name, _, _), value in zip(self._parsers, values, strict=True)
            if value is None
        ]
        unknown = dict.fromkeys(
            name for _, name, index, known in self._closed if values[index] is not None and values[index] not in known
        )
        return missing + [{"field": name, "problem": "unknown category"} for name in unknown]

    def _problems(self, rows: Sequence[Row]) -> list[Problem]:
        problems: list[Problem] = []
        for index, row in enumerate(rows):
            if not isinstance(row, Mapping):
                problems.append(Problem(index, None, "is not an object of field names and values"))
                continue
            unknown = sorted(str(name) for name in row.keys() - self._names)
            problems += [Problem(index, name[:100], "unknown field") for name in unknown]
            for name, required, parse in self._parsers:
                problem = _problem(row.get(name), required, parse)
                if problem:
                    problems.append(Problem(index, name, problem))
        return problems


def _known(feature: Feature) -> frozenset[str]:
    return frozenset(feature.options["categories" if feature.transform == "category" else "table"])


def _problem(value: Any, required: bool, parse: Parser) -> str | None:
    if value is None:
        return "required, but missing" if required else None
    try:
        parse(value)
    except ValueError as error:
        return str(error)
    return None


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
    """A function from a request's value to the parsed one; it raises ValueError with a message that never holds the value."""
    if field.kind == "number":
        return _number_parser(field)
    return {"category": _parse_category, "timestamp": _parse_timestamp, "boolean": _parse_boolean}[field.kind]


def _number_parser(field: Field) -> Parser:
    low = -math.inf if field.minimum is None else field.minimum
    high = math.inf if field.maximum is None else field.maximum
    unit = f" {field.unit}" if field.unit else ""

    def parse(value: Any) -> float:
        if type(value) is not float and type(value) is not int:
            raise ValueError("must be a number")
        try:
            number = float(value)
        except OverflowError:
            raise ValueError("must be a finite number") from None
        if not low <= number <= high:
            if not math.isfinite(number):
                raise ValueError("must be a finite number")
            raise ValueError(f"must be between {low:g} and {high:g}{unit}")
        if number in (math.inf, -math.inf):
            raise ValueError("must be a finite number")
        return number

    return parse


def _parse_category(value: Any) -> str:
    if type(value) is str:
        return value
    if type(value) is int:
        return str(value)
    raise ValueError("must be a string")


def _parse_timestamp(value: Any) -> datetime:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise ValueError("must be a timestamp such as 2013-12-24T17:30") from None
    if not isinstance(value, datetime):
        raise ValueError("must be a timestamp such as 2013-12-24T17:30")
    if value.tzinfo is not None:
        raise ValueError("must be a local timestamp, without an offset")
    return value


def _parse_boolean(value: Any) -> bool:
    if type(value) is bool:
        return value
    raise ValueError("must be true or false")
