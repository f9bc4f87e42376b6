"""A table as text, and the inferred keys of `data.source`."""

from __future__ import annotations

from typing import Any, NamedTuple

import polars as pl

from contract.errors import ConfigurationError, DataRejectedError, UnavailableError
from pipelines.columns import kinds
from pipelines.commands.draft.columns import inference
from pipelines.data import tables
from pipelines.stages.collect import files, lines, parquet

_MISSING = ("?", "NA", "N/A", "n/a", "null", "NULL", "None", "nan", "NaN", "#N/A")
_MARKS = (",", ";", "\t", "|")
_HEAD_BYTES = 100_000
_COMMA = r"^-?\d+,\d+$"
_THOUSANDS = r"^-?\d{1,3},\d{3}$"  # or three decimals: other values decide


class Read(NamedTuple):
    """A table of trimmed text, null where a value is missing, and the reason for each unread column."""

    table: pl.DataFrame
    unread: dict[str, str]


def read(path: str, source: dict[str, Any]) -> Read:
    """Read all columns as text, and add to `source` every key whose default does not fit.

    Raises:
        UnavailableError: no file matches the path.
        ConfigurationError: the files are not readable CSV or Parquet.
        DataRejectedError: the type of a column makes the whole file unreadable.
    """
    with files.local_files(path) as names:
        if not names:
            raise UnavailableError(f"no file matches {path!r}")
        try:
            table, unread = _parquet(names) if names[0].endswith(".parquet") else Read(_csv(names, source), {})
        except (pl.exceptions.PolarsError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"{path!r} cannot be read: {files.reason(error, names[0])}") from None
    if table.is_empty():
        raise ConfigurationError(f"{path!r} has no rows")
    table = table.select(pl.all().str.strip_chars())
    if missing := _missing_tokens(table):
        source["missing"] = missing
    known = table.with_columns(pl.when(~pl.all().is_in(["", *missing])).then(pl.all()))
    return Read(_decimal_point(known, source), unread)


def _parquet(names: list[str]) -> Read:
    columns, unread = [], {}
    for column in parquet.scan(names).collect():
        try:
            columns.append(kinds.as_text(column))
        except DataRejectedError as error:
            unread[column.name] = error.message
            columns.append(pl.Series(column.name, [None] * len(column), dtype=pl.String))
    return Read(pl.DataFrame(columns), unread)


def _csv(names: list[str], source: dict[str, Any]) -> pl.DataFrame:
    with lines.explained(names[0]), lines.opened(names[0]) as stream:
        content = stream.read()
    encoding = _encoding(content)
    if encoding != "utf-8":
        source["encoding"] = encoding
    head = content[:_HEAD_BYTES].decode(encoding, errors="ignore").splitlines()
    separator = max(_MARKS, key=lambda mark: head[0].count(mark) if head else 0)
    if separator != ",":
        source["separator"] = separator
    table = files.scan_csv(names, separator, '"', encoding).collect()
    if tables.RAGGED in table.columns:  # `validate` splits these rows off
        table = table.filter(pl.col(tables.RAGGED).is_null()).drop(tables.RAGGED)
    return table


def _encoding(content: bytes) -> str:
    if content.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    try:
        content.decode()
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8"


def _missing_tokens(table: pl.DataFrame) -> list[str]:
    """Return the usual tokens for missing values that occur in the table."""
    found: set[str] = set()
    for column in table.get_columns():
        found |= set(column.filter(column.is_in(_MISSING)).unique().to_list())
    return sorted(found)


def _decimal_point(table: pl.DataFrame, source: dict[str, Any]) -> pl.DataFrame:
    """Replace decimal commas by points, if the whole table has them, in columns that hold numbers."""
    with_comma = [_has_commas(column) for column in table.get_columns()]
    is_decimal = (
        table.select(pl.all().str.contains(_COMMA) & ~pl.all().str.contains(_THOUSANDS)).select(pl.all().any()).row(0)
    )
    with_point = table.select(pl.all().str.contains(r"^-?\d+\.\d+$").mean() > 0.5).row(0)
    columns = [name for name, found in zip(table.columns, with_comma, strict=True) if found]
    if not columns or not any(is_decimal) or any(with_point):
        return table
    source["decimal"] = ","
    return table.with_columns(pl.col(columns).str.replace(",", ".", literal=True))


def _has_commas(column: pl.Series) -> bool:
    """Return whether a column holds numbers with decimal commas, and perhaps a few words; other columns keep what is written."""
    known = column.drop_nulls()
    if not known.str.contains(_COMMA).any():
        return False
    others = known.filter(~known.str.contains(r"^-?\d+(,\d+)?$")).unique()
    read = inference.numbers_of(known.str.replace(",", ".", literal=True))
    return bool(inference.numbers_of(others).is_null().all()) and inference.are_numbers(read, len(others))
