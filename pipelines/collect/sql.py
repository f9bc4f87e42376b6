"""A table or a query of a database that SQLAlchemy knows: the database selects the month, by the cursor column."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any

import polars as pl
import sqlalchemy
from sqlalchemy.exc import ArgumentError, InterfaceError, NoSuchModuleError, OperationalError, SQLAlchemyError

from contract.errors import ConfigurationError, DataRejectedError, UnavailableError
from pipelines import tables
from pipelines.collect import secrets, shape
from pipelines.params import WHOLE, Data, SqlSource

_KEY = "data.source.url"
# The database compares in its own zone, and text by its letters: a day more on either side, and the exact months are cut here.
_MARGIN = timedelta(days=1)


def read(data: Data, source: SqlSource, month: str) -> pl.DataFrame:
    """The rows of a month.

    Raises:
        UnavailableError: the database does not answer.
        ConfigurationError: the URL, its driver or the statement is wrong.
        DataRejectedError: a column is not there, or a row belongs to no month.
    """
    try:
        engine = sqlalchemy.create_engine(secrets.expand(_KEY, source.url))
    except (ArgumentError, NoSuchModuleError, ImportError, ValueError) as error:
        raise ConfigurationError(
            f"{_KEY}: {source.url!r} is no URL for which a driver is installed ({secrets.redact(str(error), source.url)})"
        ) from None
    try:
        with engine.connect() as connection:
            table = _select(connection, source, month)
    except (OperationalError, InterfaceError) as error:
        raise _failure(error, source) from None
    except SQLAlchemyError as error:
        raise ConfigurationError(
            f"data.source: the database refused the statement ({_reason(error, source)}); check table, query and cursor"
        ) from None
    finally:
        engine.dispose()
    return shape.month_of(table.lazy(), data, source, month)


def _select(connection: sqlalchemy.Connection, source: SqlSource, month: str) -> pl.DataFrame:
    is_sqlite = connection.dialect.name == "sqlite"
    if connection.dialect.name == "postgresql":
        connection.execute(sqlalchemy.text("SET TIME ZONE 'UTC'"))
    table = source.table or f"({source.query.rstrip().rstrip(';')}) AS delivered"  # type: ignore[union-attr]
    if source.table:
        quote = connection.dialect.identifier_preparer.quote
        table = ".".join(quote(part) for part in source.table.split("."))
    if month == WHOLE or source.cursor is None:
        return _frame(connection.execute(sqlalchemy.text(f"SELECT * FROM {table}")))
    cursor = connection.dialect.identifier_preparer.quote(source.cursor)
    if lost := connection.execute(sqlalchemy.text(f"SELECT count(*) FROM {table} WHERE {cursor} IS NULL")).scalar():
        raise DataRejectedError(
            f"{lost} rows have no value in the cursor column {source.cursor!r} and belong to no month"
        )
    start, end = (bound + sign * _MARGIN for bound, sign in zip(tables.month_bounds(month), (-1, 1), strict=True))
    # SQLite has no type for times: a date is before every text of that day, with T or a space, with a fraction or without.
    bounds = (
        {"start": start.date().isoformat(), "end": end.date().isoformat()}
        if is_sqlite
        else {"start": start, "end": end}
    )
    statement = sqlalchemy.text(f"SELECT * FROM {table} WHERE {cursor} >= :start AND {cursor} < :end")
    return _frame(connection.execute(statement, bounds))


def _frame(result: sqlalchemy.CursorResult[Any]) -> pl.DataFrame:
    names = list(result.keys())
    values = zip(*result.fetchall(), strict=True)
    columns = list(values) or [()] * len(names)
    return pl.DataFrame([_series(name, column) for name, column in zip(names, columns, strict=True)])


def _series(name: str, values: tuple[Any, ...]) -> pl.Series:
    """A column in the type that all its values share; as text where they share none, so that no order of rows shows."""
    kinds = {type(value) for value in values if value is not None}
    if not kinds:
        return pl.Series(name, values, dtype=pl.String)
    if kinds <= {int, float, Decimal} and kinds != {int}:
        return pl.Series(name, [None if value is None else float(value) for value in values], dtype=pl.Float64)
    if kinds == {datetime}:
        return _moments(name, values)
    if kinds in ({int}, {str}, {bool}, {date}):
        return pl.Series(name, values)
    return pl.Series(name, [None if value is None else str(value) for value in values], dtype=pl.String)


def _moments(name: str, values: tuple[Any, ...]) -> pl.Series:
    return pl.Series(name, [None if value is None else value.isoformat() for value in values], dtype=pl.String)


def _failure(error: SQLAlchemyError, source: SqlSource) -> ConfigurationError | UnavailableError:
    reason = _reason(error, source)
    lowered = reason.lower()
    if any(word in lowered for word in ("no such table", "no such column", "syntax error")):
        return ConfigurationError(f"data.source: {reason}; check table, query and cursor")
    if any(
        word in lowered for word in ("authentication failed", "access denied", "no password supplied", "does not exist")
    ):
        return ConfigurationError(f"{_KEY}: {reason}; check the credentials in the environment, and the URL")
    return UnavailableError(f"{_KEY}: {source.url!r} does not answer ({reason})")


def _reason(error: SQLAlchemyError, source: SqlSource) -> str:
    """The driver's own words: SQLAlchemy's would quote the statement, its parameters and a link."""
    return secrets.redact(str(getattr(error, "orig", None) or error), source.url)
