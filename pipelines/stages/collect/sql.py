"""A table or a query of a database that SQLAlchemy knows: the database selects the month, by the cursor column."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import sqlalchemy
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    InterfaceError,
    NoSuchModuleError,
    OperationalError,
    SQLAlchemyError,
)

from contract.errors import ConfigurationError, DataRejectedError, UnavailableError
from contract.schema.texts import text_of
from pipelines.data import tables
from pipelines.machine.settings import source_root
from pipelines.params.params import WHOLE, Data
from pipelines.params.source import SqlSource
from pipelines.stages.collect import secrets, shape

# Yields some columns of all rows, in batches of as many rows.
Rows = Callable[[int, Sequence[str]], Iterator[pl.DataFrame]]

_KEY = "data.source.url"
# The database compares in its own zone, and text by its letters: a day more is read on either side, and the month is cut here.
_MARGIN = timedelta(days=1)
_END = re.compile(r"(\s*;)?\s*(--[^\n'\"]*\s*)*\Z")
_PARAMETER = re.compile(r"(?<![:\w\\]):\w+(?!:)")  # as SQLAlchemy finds bind parameters in a text
# Classes of SQLSTATE (ISO 9075): connection exceptions, transaction rollback, insufficient resources, operator intervention; a lock.
_PASSING = ("08", "40", "53", "57", "55P03")
_PASSING_IN_SQLITE = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_IOERR", "SQLITE_PROTOCOL")
_WRONG_CREDENTIALS = ("28", "3D")  # authorization, name of the database
_REFUSED = ("authentication failed", "access denied", "no password supplied", "does not exist")


def read(data: Data, source: SqlSource, month: str) -> pl.DataFrame:
    """Return the rows of a month.

    Raises:
        UnavailableError: the database does not answer.
        ConfigurationError: the URL, its driver or the statement is wrong.
        DataRejectedError: a column is missing, or a row belongs to no month.
    """
    with _connected(source) as connection:
        table, later = _select(connection, source, month)
    rows = shape.month_of(table.lazy(), data, source, month).table
    if rows.is_empty():
        shape.refuse_hole(month, later)
    return rows


@contextmanager
def statement(source: SqlSource) -> Iterator[tuple[list[str], Rows]]:
    """Yield the names of all columns, and a function that yields some columns of all rows in batches; raises as `read` does.

    The server keeps the rows that are not fetched yet where its driver can do that, as PostgreSQL's.
    """
    with _connected(source) as connection:
        options = connection.execution_options(stream_results=True)
        result = options.execute(sqlalchemy.text(f"SELECT * FROM {_table(connection, source)}"))
        names = _names(result)

        def rows(at_once: int, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
            while fetched := result.fetchmany(at_once):
                values = dict(zip(names, zip(*fetched, strict=True), strict=True))
                yield pl.DataFrame([_series(name, values[name]) for name in columns])

        yield names, rows


@contextmanager
def _connected(source: SqlSource) -> Iterator[sqlalchemy.Connection]:
    """Connect to the database; turn its errors in the block into the project's."""
    try:
        engine = sqlalchemy.create_engine(_located(secrets.expand(_KEY, source.url)))
    except (ArgumentError, NoSuchModuleError, ImportError, ValueError) as error:
        raise ConfigurationError(
            f"{_KEY}: {source.url!r} is no URL of an installed driver ({secrets.redact(str(error), source.url)})"
        ) from None
    try:
        with engine.connect() as connection:
            if connection.dialect.name == "postgresql":
                # PostgreSQL shifts `timestamptz` into the zone of the session, which may be any.
                connection.execute(sqlalchemy.text("SET TIME ZONE 'UTC'"))
            yield connection
    except (OperationalError, InterfaceError) as error:
        raise _failure(error, source) from None
    except (SQLAlchemyError, OverflowError) as error:
        raise ConfigurationError(
            f"data.source: the database refused the statement ({_reason(error, source)}); check table, query and cursor"
        ) from None
    finally:
        engine.dispose()


def _located(url: str) -> sqlalchemy.URL:
    """Return the URL; a SQLite file has its absolute path and must exist, since SQLite would create an empty one.

    Raises:
        UnavailableError: there is no such file (yet).
    """
    parsed = sqlalchemy.make_url(url)
    name = parsed.database
    if parsed.get_backend_name() != "sqlite" or not name or name == ":memory:" or name.startswith("file:"):
        return parsed
    path = source_root() / name
    if not path.exists():
        raise UnavailableError(f"{_KEY}: there is no file {path}")
    return parsed.set(database=str(path))


def _select(connection: sqlalchemy.Connection, source: SqlSource, month: str) -> tuple[pl.DataFrame, int]:
    """Return the rows of a month and a day around it, and the number of later rows."""
    quote, table = connection.dialect.identifier_preparer.quote, _table(connection, source)
    if month == WHOLE or source.cursor is None:
        return _frame(connection.execute(sqlalchemy.text(f"SELECT * FROM {table}")), source), 0
    cursor, bounds = quote(source.cursor), _bounds(connection.dialect.name, month)
    count = f"SELECT count(*) - count({cursor}), count(CASE WHEN {cursor} >= :end THEN 1 END) FROM {table}"
    lost, later = connection.execute(sqlalchemy.text(count), {"end": bounds["end"]}).one()
    if lost:
        raise DataRejectedError(
            f"{lost} rows have no value in the cursor column {source.cursor!r} and belong to no month"
        )
    statement = sqlalchemy.text(f"SELECT * FROM {table} WHERE {cursor} >= :start AND {cursor} < :end")
    return _frame(connection.execute(statement, bounds), source), later


def _table(connection: sqlalchemy.Connection, source: SqlSource) -> str:
    """Return the table, or the query as a table, in the database's own notation."""
    quote = connection.dialect.identifier_preparer.quote
    return _subquery(source.query) if source.query else ".".join(map(quote, str(source.table).split(".")))


def _bounds(dialect: str, month: str) -> dict[str, datetime | str]:
    start, end = (bound + sign * _MARGIN for bound, sign in zip(tables.month_bounds(month), (-1, 1), strict=True))
    if dialect == "sqlite":
        # SQLite has no type for times: a date sorts before every text of that day, with T or a space, with a fraction or without.
        return {"start": start.date().isoformat(), "end": end.date().isoformat()}
    return {"start": start, "end": end}


def _subquery(query: str) -> str:
    """Return a SELECT as a subquery: no final semicolon, lines of its own for a final comment, colons escaped."""
    bare = _END.sub("", query, count=1)
    return f"(\n{_PARAMETER.sub(lambda match: chr(92) + match[0], bare)}\n) AS delivered"


def _frame(result: sqlalchemy.CursorResult[Any], source: SqlSource) -> pl.DataFrame:
    """Return the rows; a column that `data.source.drop` names is null, so that its type may be unsupported."""
    used = {name for entry in source.combine.values() for name in entry.columns}
    dropped = set(source.drop) - used
    names = _names(result)
    values = zip(*result.fetchall(), strict=True)
    columns = list(values) or [()] * len(names)
    made = [
        _series(name, (None,) * len(column) if name in dropped else column)
        for name, column in zip(names, columns, strict=True)
    ]
    return pl.DataFrame(made)


def _names(result: sqlalchemy.CursorResult[Any]) -> list[str]:
    names = list(result.keys())
    if repeated := [name for name in names if names.count(name) > 1]:
        raise DataRejectedError(f"data.source.query returns two columns named {repeated[0]!r}; rename one with AS")
    return names


def _series(name: str, values: tuple[Any, ...]) -> pl.Series:
    """Return a column in the type that all its values share, or as text; the order of the rows does not matter.

    Raises:
        DataRejectedError: the values are lists, documents, or bytes that are not UTF-8 text.
    """
    kinds = {type(value) for value in values if value is not None}
    if nested := kinds & {dict, list, tuple, set}:
        raise DataRejectedError(
            f"column {name!r} holds values of type {nested.pop().__name__}, which is unsupported; select a part of them in "
            "data.source.query, or leave the column out (data.source.drop)"
        )
    if kinds & {bytes, memoryview}:
        values = tuple(_decoded(name, value) for value in values)
        return _series(name, values)
    if not kinds:
        return pl.Series(name, values, dtype=pl.String)
    if kinds in ({int}, {Decimal}) and all(value is None or _is_whole(value) for value in values):
        return _whole(name, [None if value is None else int(value) for value in values])
    if kinds <= {int, float, Decimal}:
        return pl.Series(name, [None if value is None else float(value) for value in values], dtype=pl.Float64)
    if kinds == {datetime}:
        return _moments(name, values)
    if kinds in ({str}, {bool}, {date}, {time}, {timedelta}):
        return pl.Series(name, values)
    return pl.Series(name, [None if value is None else _text(value) for value in values], dtype=pl.String)


def _text(value: Any) -> str:
    """Return the text of a value, the same for every type that a driver may give it."""
    try:
        return text_of(value)
    except ValueError:
        return str(value)


def _decoded(name: str, value: Any) -> Any:
    if not isinstance(value, bytes | memoryview):
        return value
    try:
        return bytes(value).decode()
    except UnicodeDecodeError:
        raise DataRejectedError(
            f"column {name!r} holds bytes that are not UTF-8 text; cast it in data.source.query, or leave it out (data.source.drop)"
        ) from None


def _is_whole(value: int | Decimal) -> bool:
    return math.isfinite(value) and int(value) == value


def _whole(name: str, values: list[int | None]) -> pl.Series:
    """Return whole numbers, as text if one needs more than 64 bits: a wide identifier keeps all of its digits."""
    fits = all(value is None or -(2**63) <= value < 2**63 for value in values)
    return pl.Series(name, values if fits else [None if value is None else str(value) for value in values])


def _moments(name: str, values: tuple[Any, ...]) -> pl.Series:
    return pl.Series(name, [None if value is None else value.isoformat() for value in values], dtype=pl.String)


def _failure(error: DBAPIError, source: SqlSource) -> ConfigurationError | UnavailableError:
    """Return the error to raise: only a lost connection, a lock or a restarting server is worth a retry."""
    reason = _reason(error, source)
    state, name = getattr(error.orig, "sqlstate", None), getattr(error.orig, "sqlite_errorname", None)
    is_refused = any(word in reason.lower() for word in _REFUSED)
    if is_refused or (state or "").startswith(_WRONG_CREDENTIALS):
        return ConfigurationError(f"{_KEY}: {reason}; check the credentials in the environment, and the URL")
    if (state and not state.startswith(_PASSING)) or (name and not name.startswith(_PASSING_IN_SQLITE)):
        return ConfigurationError(
            f"data.source: the database refused the statement ({reason}); check table, query and cursor"
        )
    return UnavailableError(f"{_KEY}: {source.url!r} does not answer ({reason})")


def _reason(error: Exception, source: SqlSource) -> str:
    """Return the driver's message, without the statement and parameters that SQLAlchemy adds.

    For an error of a value it is replaced, since drivers quote the value.
    """
    if isinstance(error, DataError):
        return f"the statement cannot convert a value, SQLSTATE {getattr(error.orig, 'sqlstate', None)}"
    return secrets.redact(str(getattr(error, "orig", None) or error), source.url)
