"""Partitions as views of a DuckDB file, which Great Expectations reads without loading a table into Python."""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from contract.schema.tasks import TASKS
from pipelines.data import tables
from pipelines.params.params import TargetParams

# Extra column of a view: the label as a number.
POSITIVE = "__positive__"


# DuckDB spills the rest to disk beside the database; a progress bar would overwrite our messages.
_SETTINGS = {"memory_limit": "1GB", "enable_progress_bar": "false"}


class _Dialect(enum.StrEnum):
    DUCKDB = "duckdb"


def teach_duckdb() -> None:
    """Patch Great Expectations and DuckDB's SQLAlchemy dialect to work with each other.

    One connection is kept: else temporary tables are lost (GX issue 11579). Every keyword is quoted, not the reserved ones alone: a
    column may be called `at`. The memory of a connection is limited.
    """
    import duckdb
    from duckdb_engine import Dialect, DuckDBIdentifierPreparer
    from great_expectations.execution_engine import sqlalchemy_execution_engine as engine

    if _Dialect.DUCKDB not in engine._PERSISTED_CONNECTION_DIALECTS:
        engine._PERSISTED_CONNECTION_DIALECTS = (*engine._PERSISTED_CONNECTION_DIALECTS, _Dialect.DUCKDB)
    Dialect.on_connect = lambda _: _set_up
    with duckdb.connect() as connection:
        keywords = connection.execute("SELECT keyword_name FROM duckdb_keywords()").fetchall()
    DuckDBIdentifierPreparer.reserved_words = {
        *DuckDBIdentifierPreparer.reserved_words,
        *(word for (word,) in keywords),
    }


def _set_up(connection: Any) -> None:
    for name, value in _SETTINGS.items():
        connection.execute(f"SET {name} = '{value}'")


def view_name(month: str) -> str:
    """Return the name of a month's view."""
    return f"month_{month.replace('-', '_')}"


def repeated_name(month: str) -> str:
    """Return the name of the table of a month's repeated keys."""
    return f"{view_name(month)}_repeated"


def create_views(database: Path, files: Mapping[str, Path], target: TargetParams, key: Sequence[str]) -> None:
    """Create a view for each month: its file, and the label as a number (1 positive, 0 negative, null none) beside it.

    The files hold no NaN: `collect` makes it null. SQL could not: DuckDB trusts statistics of the file, which leave NaN out.

    A table per month counts the rows of every repeated key. Great Expectations' own query for that sorts the whole month, and takes
    twice the time and memory.
    """
    import duckdb

    with duckdb.connect(str(database)) as connection:
        _set_up(connection)
        for month, path in files.items():
            table = _table(path)
            described = connection.execute(f"DESCRIBE SELECT * FROM {table}").fetchall()
            kinds = {row[0]: row[1] for row in described if row[0] not in tables.MARKS}
            has_label = target.column in kinds and TASKS[target.task].has_positive
            label = _label(target) if has_label else "CAST(NULL AS DOUBLE)"
            values = ", ".join(map(_quoted, kinds))
            connection.execute(
                f'CREATE VIEW {view_name(month)} AS SELECT {values}, {label} AS "{POSITIVE}" FROM {table}'
            )
            if key and kinds.keys() >= set(key):
                _create_repeated(connection, month, table, ", ".join(_quoted(name) for name in key))


def _create_repeated(connection: Any, month: str, table: str, key: str) -> None:
    """Count the rows of each repeated key; only rows whose hash repeats are grouped by the key itself.

    Sorting eight bytes a row takes a fifth of the time that grouping ten million keys does.
    """
    hashes = connection.execute(f"SELECT hash({key}) AS hash FROM {table}").fetchnumpy()["hash"]
    hashes.sort()
    suspects = np.unique(hashes[1:][hashes[1:] == hashes[:-1]]).tolist()
    connection.execute(
        f"CREATE TABLE {repeated_name(month)} AS SELECT count(*) AS copies FROM {table} "
        f"WHERE hash({key}) IN (SELECT unnest(CAST(? AS UBIGINT[]))) GROUP BY {key} HAVING copies > 1",
        [suspects],
    )


def _table(path: Path) -> str:
    """Return SQL for the rows of a file; with hive partitioning, a directory `a=b` would add a column `a`."""
    file = str(path.resolve()).replace("'", "''")
    return f"read_parquet('{file}', hive_partitioning = false)"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _label(target: TargetParams) -> str:
    negative, positive = (label.replace("'", "''") for label in target.labels)
    return f"CASE CAST({_quoted(target.column)} AS VARCHAR) WHEN '{positive}' THEN 1.0 WHEN '{negative}' THEN 0.0 END"
