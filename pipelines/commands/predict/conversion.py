"""The rows of a table as a model's matrix, bit for bit as a server encodes the same rows; and the reasons to refuse some.

Values in the usual form are taken a whole column at a time, as a server takes those of a large request: numbers unchanged, known
categories by their text. All others go through `pipelines.columns.kinds`, the conversion of `contract.schema.kinds`.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import datetime
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from contract.errors import DataRejectedError, Problem
from contract.model.columns.categories import Coded
from contract.model.columns.readers import Moments, Parsed
from contract.model.encoder import Encoder
from contract.model.row_program import Parser
from contract.schema import timestamps
from contract.schema.kinds import KINDS
from contract.schema.schema import FeatureSchema, Field
from contract.schema.texts import missing_numbers
from pipelines.columns import casts, kinds

_PLACEHOLDER = np.datetime64("1970-01-01")  # of a missing timestamp, whose features are missing whatever it is
_FIRST, _LAST = np.datetime64("0001-01-01"), np.datetime64("9999-12-31T23:59:59.999999")
_OTHER_ZONE = {None: "2000-01-01T00:00Z", "UTC": "2000-01-01T00:00"}  # a time that a field with this zone refuses
_WORD = 64
Mask = NDArray[np.bool_]


class Converted(NamedTuple):
    """The converted rows of a table.

    Attributes:
        matrix: float32, rows × features; arbitrary in refused rows.
        fallbacks: the fallbacks of each row, as a server's answer lists them, in JSON; null without any.
        refused: by row, in JSON, the problems for which a server would refuse it.
    """

    matrix: NDArray[np.float32]
    fallbacks: pl.Series
    refused: dict[int, str]


class _Column(NamedTuple):
    """A field's column: canonical values, null where missing or unreadable, and the problems of the unreadable ones by row."""

    values: pl.Series
    problems: dict[int, str]


class Conversion:
    """The conversion of tables with certain columns, for a schema.

    Attributes:
        columns: the columns that it reads.
        absent: optional fields for which there is no column; they are missing in every row.

    Raises:
        DataRejectedError: a required field has no column, or a field has two.
    """

    def __init__(self, schema: FeatureSchema, encoder: Encoder, names: Collection[str]) -> None:
        self._fields, self._encoder = schema.fields, encoder
        made = {field.name for field in encoder.sources.given(names)}
        self._given = {field.name: field.source if field.name in made else (field.name,) for field in schema.fields}
        self.columns = [name for given in self._given.values() for name in given if name in names]
        self.absent = [name for name, given in self._given.items() if not set(given) & set(names)]
        _refuse_ambiguous([field for field in schema.fields if field.name in made], names)
        _refuse_lacking([field for field in schema.fields if field.name in self.absent and field.required], names)
        # As a server's answers list them: fields in their order, then categories.
        self._fallbacks = [{"field": field.name, "problem": "missing"} for field in schema.fields]
        self._fallbacks += [{"field": name, "problem": "unknown category"} for name in encoder.categories]
        self._text = lru_cache(1 << 16)(self._text_of)

    def convert(self, table: pl.DataFrame) -> Converted:
        """Convert rows.

        Raises:
            DataRejectedError: the type of a column is unsupported for the field's kind.
        """
        size, problems = table.height, _Problems(self._encoder)
        parsed: dict[str, Parsed] = {}
        missing: dict[str, Mask] = {}
        unknown: dict[str, Mask] = {}
        for field in self._fields:
            name, canonical = field.name, KINDS[field.kind].canonical
            if canonical in (float, bool):
                parsed[name] = numbers = self._numbers(table, field, problems)
                missing[name] = np.isnan(numbers)
            elif canonical is datetime:
                parsed[name], missing[name] = self._moments(table, field, problems)
            elif name in self._encoder.categories:
                parsed[name], missing[name], unknown[name] = self._categories(table, field, problems)
            else:
                values = self._column(table, field, problems)
                parsed[name], missing[name] = values.to_list(), values.is_null().to_numpy()
            if field.required:
                problems.add_missing(field, missing[name])
        taken = [*missing.values(), *(unknown[name] for name in self._encoder.categories)]
        return Converted(self._encoder.encode_parsed(parsed, size), self._described(taken), problems.as_json())

    def _numbers(self, table: pl.DataFrame, field: Field, problems: _Problems) -> NDArray[np.float64]:
        """Return numbers or booleans as float64, NaN where missing or out of bounds."""
        (name,), bounds = self._given[field.name], self._encoder.bounds.get(field.name)
        values = table[name] if name in table.columns else pl.Series(name, [None] * table.height, dtype=pl.Float64)
        is_plain = values.dtype.is_integer() or values.dtype.is_float() if bounds else values.dtype == pl.Boolean
        if not is_plain:
            values = self._column(table, field, problems)
        numbers = np.array(values.cast(pl.Float64).to_numpy())
        if bounds is None:
            return numbers
        numbers += 0.0  # there is one zero: what is -0 becomes 0
        if sentinels := missing_numbers(field):
            numbers[np.isin(numbers, sorted(sentinels))] = np.nan
        outside = (numbers < bounds[0]) | (numbers > bounds[1])
        if outside.any():
            problems.add_values(field, {row: float(numbers[row]) for row in np.flatnonzero(outside).tolist()})
            numbers[outside] = np.nan
        return numbers

    def _moments(self, table: pl.DataFrame, field: Field, problems: _Problems) -> tuple[Moments, Mask]:
        (name, *_), zone = self._given[field.name], field.zone and "UTC"
        values = table[name] if table.schema.get(name) == pl.Datetime("us", zone) else None
        is_plain = values is not None and field.unit is None and not timestamps.missing_times(field)
        at = values.to_numpy() if values is not None and is_plain else None
        if at is None or (at < _FIRST).any() or (at > _LAST).any():
            at = self._column(table, field, problems).cast(pl.Datetime("us")).to_numpy()
        at, missing = at.astype("M8[us]"), np.isnat(at)
        at[missing] = _PLACEHOLDER
        return Moments(at, np.flatnonzero(missing).tolist()), missing

    def _categories(self, table: pl.DataFrame, field: Field, problems: _Problems) -> tuple[Coded, Mask, Mask]:
        known, (name, *_) = pl.Enum(self._encoder.categories[field.name]), self._given[field.name]
        raw = table[name] if name in table.columns else pl.Series(name, [None] * table.height, dtype=pl.String)
        if isinstance(raw.dtype, (pl.Categorical, pl.Enum)):
            raw = raw.cast(pl.String)
        codes = raw.cast(known, strict=False) if raw.dtype == pl.String else pl.Series(name, [None] * len(raw), known)
        missing, unknown = np.zeros((2, len(raw)), np.bool_)
        if not codes.null_count():
            return Coded(codes.to_physical().to_numpy().astype(np.intp), {}), missing, unknown
        rows = np.flatnonzero(codes.is_null().to_numpy())
        places = codes.to_physical().fill_null(0).to_numpy().astype(np.intp)
        values = self._column(raw.gather(rows).to_frame(), field, problems, rows.tolist())
        read = values.cast(known, strict=False)
        places[rows] = read.to_physical().fill_null(0).to_numpy()
        missing[rows] = values.is_null().to_numpy()
        unknown[rows] = (read.is_null() & values.is_not_null()).to_numpy()
        others = {row: values[at] for at, row in enumerate(rows.tolist()) if missing[row] or unknown[row]}
        return Coded(places, others), missing, unknown

    def _column(
        self, table: pl.DataFrame, field: Field, problems: _Problems, rows: list[int] | None = None
    ) -> pl.Series:
        """Return the canonical values of a field, null where missing or unreadable.

        Args:
            rows: the numbers of the table's rows; by default they count from 0.
        """
        found = _read(table, field, self._given[field.name], self._encoder.parsers[field.name])
        problems.add_texts(
            field, found.problems if rows is None else {rows[at]: text for at, text in found.problems.items()}
        )
        return found.values

    def _described(self, taken: list[Mask]) -> pl.Series:
        """Return the fallbacks of each row; few combinations occur, and each is written once."""
        keys, codes = np.zeros((1, 0), np.uint64), np.zeros(len(taken[0]), np.intp)
        for first in range(0, len(taken), _WORD):
            word = np.zeros(len(codes), np.uint64)
            for bit, mask in enumerate(taken[first : first + _WORD]):
                if mask.any():
                    word |= mask.astype(np.uint64) << np.uint64(bit)
            more, of_word = np.unique(word, return_inverse=True)
            pairs, codes = np.unique(codes * len(more) + of_word, return_inverse=True) if first else (more, of_word)
            keys = np.hstack([keys[pairs // len(more)], more[pairs % len(more), None]]) if first else more[:, None]
        texts = [self._text(key) for key in map(tuple, keys.tolist())]
        # Written as a dictionary, which takes half as long as so many equal texts.
        return pl.Series("__fallbacks__", texts, dtype=pl.Categorical).gather(codes)

    def _text_of(self, words: tuple[int, ...]) -> str | None:
        taken = [fallback for at, fallback in enumerate(self._fallbacks) if words[at // _WORD] >> (at % _WORD) & 1]
        return json.dumps(taken, ensure_ascii=False) if taken else None


class _Problems:
    """The problems of a table's rows, by field and row."""

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._found: dict[str, dict[int, str]] = {}

    def add_texts(self, field: Field, texts: Mapping[int, str]) -> None:
        """Add problems that are in words already."""
        if texts:
            self._found.setdefault(field.name, {}).update(texts)

    def add_values(self, field: Field, values: Mapping[int, Any]) -> None:
        """Add the problems that the field's parser has with these canonical values."""
        words = lru_cache(1 << 12)(partial(_problem_with, self._encoder.parsers[field.name]))
        self.add_texts(field, {row: words(value) for row, value in values.items()})

    def add_missing(self, field: Field, missing: Mask) -> None:
        """Add the rows where a required field is missing, and not for another problem."""
        told = self._found.get(field.name, {})
        if lacking := [row for row in np.flatnonzero(missing).tolist() if row not in told]:
            self.add_texts(field, dict.fromkeys(lacking, _problem_with(self._encoder.parsers[field.name], None)))

    def as_json(self) -> dict[int, str]:
        """Return the problems of each row that has some, in the order of the fields."""
        rows: dict[int, list[dict[str, str]]] = {}
        for name in self._encoder.parsers:
            for row, problem in self._found.get(name, {}).items():
                rows.setdefault(row, []).append({"field": name, "problem": problem})
        return {row: json.dumps(rows[row], ensure_ascii=False) for row in sorted(rows)}


def _read(table: pl.DataFrame, field: Field, names: tuple[str, ...], parse: Parser) -> _Column:
    is_made = field.format is not None and names == field.source != (field.name,)
    if is_made:
        values = _joined(table, field)
    else:
        values = table[names[0]] if names[0] in table.columns else pl.Series([None] * table.height, dtype=pl.String)
    # Under its own name a timestamp of several columns is plain ISO 8601.
    is_plain = not is_made and field.source != (field.name,)
    read = kinds.convert(values, replace(field, format=None) if is_plain else field)
    is_bad = read.problems.is_not_null()
    if field.kind == "timestamp" and field.unit is None:
        is_bad |= (read.has_offset != (field.zone is not None)).fill_null(False)
    if not is_bad.any():
        return _Column(read.values, {})
    rows, problems = is_bad.arg_true().to_list(), {}
    for row, text, problem in zip(rows, values.filter(is_bad), read.problems.filter(is_bad), strict=True):
        if field.kind != "timestamp" or field.unit is not None or not isinstance(text, str):
            problems[row] = problem or _problem_with(KINDS[field.kind].reader(field), _OTHER_ZONE[field.zone])
        elif is_made:
            theirs = " and ".join(map(repr, names))
            problems[row] = f"made of {theirs}: {_problem_with(timestamps.in_format(field), text)}"
        else:
            problems[row] = _problem_with(parse, text)
    return _Column(casts.where(~is_bad, read.values), problems)


def _joined(table: pl.DataFrame, field: Field) -> pl.Series:
    """Return the texts of a timestamp's columns, joined by a space; null where one of them is missing."""
    parts = []
    for name in field.source:
        if name not in table.columns:
            return pl.Series(field.name, [None] * table.height, dtype=pl.String)
        kinds.check(name, table[name].dtype, Field(name, "category"))
        parts.append(kinds.texts(table[name], field).alias(name))
    return pl.DataFrame(parts).select(pl.concat_str(pl.all(), separator=" ").alias(field.name)).to_series()


def _problem_with(parse: Parser, value: Any) -> str:
    """Return what a parser says of a value that it refuses.

    Raises:
        AssertionError: it takes the value.
    """
    try:
        parse(value)
    except ValueError as error:
        return str(error)
    raise AssertionError("a refused value is taken by the request's own parser")


def _refuse_ambiguous(made: list[Field], names: Collection[str]) -> None:
    for field in made:
        if field.name in names and field.name not in field.source:
            theirs = " and ".join(repr(name) for name in field.source)
            raise DataRejectedError(
                f"the table has {field.name!r} twice: under its own name, and as {theirs} of the source; leave one out"
            )


def _refuse_lacking(fields: list[Field], names: Collection[str]) -> None:
    if not fields:
        return
    source = (
        f" (or {' and '.join(map(repr, fields[0].source))})" if fields[0].source not in ((), (fields[0].name,)) else ""
    )
    shown = ", ".join(map(repr, sorted(names)[:30])) or "none"
    raise DataRejectedError(
        f"the table has no column {fields[0].name!r}{source}, which the model requires; it has {shown}",
        [Problem(None, field.name, "is required and missing too") for field in fields[1:]],
    )
