"""The conversion of a source's columns to the canonical form of their kinds.

| type in the source | number | boolean | category, identifier | timestamp |
|---|---|---|---|---|
| text; dictionary-encoded text; bytes that are UTF-8 | by value | by value | by value | by value |
| whole numbers, floats, decimals | ✓ | by value | by value | by value, with a unit |
| booleans | | by value | by value | |
| days | | | by value | ✓ |
| times of day | | | by value | |
| timestamps | | | | ✓, in UTC where they have a zone |
| durations | ✓, with a unit | | | |

*By value*: `contract.schema` converts every distinct value, as it does a request's. ✓: a cast of the whole column with the same result.
Empty: the column is unsupported and refused by its name. An unreadable value becomes null, with a reason.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import polars as pl

from contract.errors import DataRejectedError
from contract.schema import kinds, timestamps
from contract.schema.schema import Field
from pipelines.columns import casts
from pipelines.columns.casts import Converted

_NUMBERS = ("whole numbers", "floats", "decimals")
_ANYTHING = "cast it at the source to text, a number or a timestamp, or leave it out (data.source.drop)"
_NEEDS_UNIT = f"declare its unit: one of {', '.join(casts.DURATION_UNITS)}"
_NEEDS_EPOCH = "declare its unit: s, ms or us (since 1970 UTC), or yyyymmdd"
_NEEDS_DAY = "join it with the column of its day (data.source.combine)"
_NEEDS_NO_UNIT = "remove its unit, since it is not a number"
Cell = tuple[Any, str | None, bool | None]


@dataclass(frozen=True)
class TableKind:
    """A kind of column in tables.

    Attributes:
        dtype: type of its columns in partitions.
        duckdb: names of that type in DuckDB's dialect.
        is_taken: returns whether a column of the source is supported, by the group of its type and the field. Text always is.
        casts: cast of the whole column, by group; groups without one are read by value.
        plain: cast of texts in the usual form, null for others, which are read by value.
        hints: advice for unsupported groups.
        varies: if true, a single value in a whole month is suspicious.
        drifts: if true, its monthly distribution is compared with that of other months.
    """

    dtype: pl.DataType
    duckdb: tuple[str, ...]
    is_taken: Callable[[str, Field], bool]
    casts: Mapping[str, Callable[[pl.Series, Field], Converted]] = field(default_factory=dict)
    plain: Callable[[pl.Series, Field], pl.Series] | None = None
    hints: Mapping[str, str] = field(default_factory=dict)
    varies: bool = True
    drifts: bool = True


def _takes_number(group: str, field: Field) -> bool:
    return group in _NUMBERS or (group == "durations" and field.unit in casts.DURATION_UNITS)


def _takes_boolean(group: str, _: Field) -> bool:
    return group in (*_NUMBERS, "booleans")


def _takes_text(group: str, _: Field) -> bool:
    return group in (*_NUMBERS, "booleans", "days", "times of day")


def _takes_timestamp(group: str, field: Field) -> bool:
    return group in (("days", "timestamps") if field.unit is None else _NUMBERS)


KINDS = {
    "number": TableKind(
        pl.Float64(),
        ("FLOAT", "DOUBLE"),
        _takes_number,
        casts=dict.fromkeys(("whole numbers", "floats", "durations"), casts.numbers),
        plain=casts.plain_numbers,
        hints={
            "booleans": "declare kind: boolean",
            "days": "declare kind: timestamp",
            "timestamps": "declare kind: timestamp",
            "durations": _NEEDS_UNIT,
        },
    ),
    "boolean": TableKind(pl.Boolean(), ("BOOLEAN", "Boolean"), _takes_boolean),
    "category": TableKind(
        pl.String(), ("String", "VARCHAR"), _takes_text, hints={"timestamps": "declare kind: timestamp"}
    ),
    "timestamp": TableKind(
        pl.Datetime("us"),
        ("TIMESTAMP",),
        _takes_timestamp,
        casts=dict.fromkeys(("days", "timestamps"), casts.moments),
        plain=casts.plain_times,
        hints={"times of day": _NEEDS_DAY}
        | dict.fromkeys(_NUMBERS, _NEEDS_EPOCH)
        | dict.fromkeys(("days", "timestamps"), _NEEDS_NO_UNIT),
        drifts=False,
    ),
    "identifier": TableKind(pl.String(), ("String", "VARCHAR"), _takes_text, varies=False, drifts=False),
}


def check(name: str, dtype: pl.DataType, field: Field) -> None:
    """Raise DataRejectedError for a column whose type is unsupported for the field's kind."""
    group, kind = _group(dtype), KINDS[field.kind]
    if group not in ("text", "nulls") and not kind.is_taken(group, field):
        raise DataRejectedError(
            f"the source has the column {name!r} as {dtype}, unsupported for a {field.kind}; {kind.hints.get(group, _ANYTHING)}"
        )


def check_flat(name: str, dtype: pl.DataType) -> None:
    """Raise DataRejectedError for an undeclared column of a type without an order of rows."""
    if _group(dtype) == "others":
        raise DataRejectedError(
            f"the source has the column {name!r} as {dtype}, and data.columns does not list it; {_ANYTHING}"
        )


def convert(values: pl.Series, field: Field) -> Converted:
    """Convert a column of the source, whatever its name.

    Raises:
        DataRejectedError: its type is unsupported for the kind, or its bytes are not text.
    """
    if values.null_count() == len(values):
        return _nothing(values, field)
    check(values.name, values.dtype, field)
    values, group = _as_text(values), _group(values.dtype)
    if (cast := KINDS[field.kind].casts.get(group)) is not None:
        return cast(values, field)
    return _by_value(values.cast(pl.String) if group == "days" else values, field)


def as_text(values: pl.Series) -> pl.Series:
    """Return a column of the source as text, equivalent to the column for every kind.

    Raises:
        DataRejectedError: its type is unsupported for every kind, or needs a unit.
    """
    if _group(values.dtype) != "timestamps":
        return convert(values, Field(values.name, "category")).values
    zone = "Z" if isinstance(values.dtype, pl.Datetime) and values.dtype.time_zone else ""
    return casts.moments(values, Field(values.name, "timestamp")).values.dt.strftime(f"%Y-%m-%dT%H:%M:%S%.f{zone}")


def texts(values: pl.Series, field: Field) -> pl.Series:
    """Convert a part of a combined timestamp to text, null where missing."""
    values = _as_text(values)
    distinct = values.drop_nulls().unique()
    read = [timestamps.combined([value], field) for value in distinct.to_list()]
    return _mapped(values, distinct, read, pl.String())


def moments(values: pl.Series, field: Field) -> pl.Series:
    """Convert a column of timestamps to structs of `at` and `has_offset`; `at` is null where unreadable or missing."""
    try:
        read = convert(values, field)
    except DataRejectedError:
        read = _nothing(values, field)
    return pl.DataFrame([read.values.alias("at"), read.has_offset.alias("has_offset")]).to_struct(values.name)


def _nothing(values: pl.Series, field: Field) -> Converted:
    nothing = pl.Series(values.name, [None] * len(values), dtype=pl.Boolean)
    return Converted(nothing.cast(KINDS[field.kind].dtype), nothing.cast(pl.String), nothing)


def _group(dtype: pl.DataType) -> str:
    if dtype.base_type() in (pl.String, pl.Categorical, pl.Enum, pl.Binary):
        return "text"
    if dtype.is_integer():
        return "whole numbers"
    if dtype.is_float():
        return "floats"
    if dtype.is_decimal():
        return "decimals"
    named = {
        pl.Boolean: "booleans",
        pl.Date: "days",
        pl.Time: "times of day",
        pl.Datetime: "timestamps",
        pl.Duration: "durations",
        pl.Null: "nulls",
    }
    return named.get(dtype.base_type(), "others")


def _as_text(values: pl.Series) -> pl.Series:
    """Return dictionary-encoded text and bytes as text, NaN as null, and all else unchanged."""
    if values.dtype == pl.Binary:
        try:
            return values.cast(pl.String)
        except pl.exceptions.PolarsError:
            raise DataRejectedError(
                f"the source has the column {values.name!r} as bytes that are not UTF-8 text (is it a UUID?); cast it to text there"
            ) from None
    if values.dtype.base_type() in (pl.Categorical, pl.Enum):
        return values.cast(pl.String)
    return values.fill_nan(None) if values.dtype.is_float() else values


def _by_value(values: pl.Series, field: Field) -> Converted:
    if values.dtype == pl.Float32:
        values = values.cast(pl.String).cast(pl.Float64)  # as the number is written, which the cast alone does not give
    read, dtype = _reader(field), KINDS[field.kind].dtype
    cast = _plain(values, field)
    rest = casts.where(cast.is_null(), values)
    distinct = rest.drop_nulls().unique()
    cells = [read(value) for value in distinct.to_list()]
    made, problems, offsets = ([cell[part] for cell in cells] for part in range(3))
    converted = cast.fill_null(_mapped(rest, distinct, made, dtype))
    has_offset = _mapped(rest, distinct, offsets, pl.Boolean())
    if field.kind == "timestamp":
        has_offset = has_offset.fill_null(
            casts.where(cast.is_not_null(), pl.Series([False] * len(values), dtype=pl.Boolean))
        )
    return Converted(converted, _mapped(rest, distinct, problems, pl.String()), has_offset)


def _plain(values: pl.Series, field: Field) -> pl.Series:
    """Cast the values in the usual form, for which a cast equals `contract.schema.kinds`; null for all others.

    It takes a tenth of the time, which counts when the rows of a month are searched in a whole source.
    """
    kind = KINDS[field.kind]
    if kind.plain is None or values.dtype != pl.String or field.unit or field.format:
        return pl.Series(values.name, [None] * len(values), dtype=kind.dtype)
    return kind.plain(values, field)


def _reader(field: Field) -> Callable[[Any], Cell]:
    """Return the function from a value to its canonical form, the problem if there is one, and whether it has an offset."""
    make = timestamps.in_format if field.format is not None else kinds.reader
    if field.kind != "timestamp" or field.unit is not None:
        ways: list[tuple[bool | None, timestamps.Reader]] = [(None, make(field))]
    else:  # the table decides whether its timestamps, and so those of requests, have offsets
        ways = [
            (has_offset, make(replace(field, zone=timestamps.UTC_ZONE if has_offset else None)))
            for has_offset in (False, True)
        ]

    def read(value: Any) -> Cell:
        problem = None
        for has_offset, way in ways:
            try:
                canonical = way(value)
            except ValueError as error:
                problem = problem or str(error)
            else:
                return canonical, None, None if canonical is None else has_offset
        return None, problem, None

    return read


def _mapped(values: pl.Series, distinct: pl.Series, made: Sequence[Any], dtype: pl.DataType) -> pl.Series:
    if distinct.is_empty():
        return pl.Series(values.name, [None] * len(values), dtype=dtype)
    return values.replace_strict(distinct, pl.Series(made, dtype=dtype), default=None, return_dtype=dtype)
