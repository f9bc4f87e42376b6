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

# Names of the view's extra columns that hold what no column of the table does.
POSITIVE = "__positive__"


# What does not fit is spilled beside the database; a bar would be drawn over our messages.
_SETTINGS = {"memory_limit": "1GB", "enable_progress_bar": "false"}


class _Dialect(enum.StrEnum):
    DUCKDB = "duckdb"


def teach_duckdb() -> None:
    """What Great Expectations and DuckDB's SQLAlchemy dialect do not know of each other.

    One connection is to be kept: without that, temporary tables are gone (GX issue 11579). Every keyword is to be quoted, not the
    reserved ones alone: a column may be called `at`. And no connection may take all memory.
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
    return f"month_{month.replace('-', '_')}"


def repeated_name(month: str) -> str:
    return f"{view_name(month)}_repeated"


def create_views(database: Path, files: Mapping[str, Path], target: TargetParams, key: Sequence[str]) -> None:
    """One view a month: its file, and the label as a number (1 positive, 0 negative, null none) beside it.

    NaN is no value of such a file: `collect` makes it null. SQL could not: DuckDB believes statistics that know nothing of NaN.

    Beside it a table with a line for every key that several rows share: how many. Great Expectations' own query for that sorts
    the whole month, and takes twice the time and memory.
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
    """Count the rows of each key that has several; only rows whose hash another row has are grouped by the key itself.

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
    """Return SQL for the rows of a file. Without that option a directory called `a=b` would be a column `a`."""
    file = str(path.resolve()).replace("'", "''")
    return f"read_parquet('{file}', hive_partitioning = false)"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _label(target: TargetParams) -> str:
    negative, positive = (label.replace("'", "''") for label in target.labels)
    return f"CASE CAST({_quoted(target.column)} AS VARCHAR) WHEN '{positive}' THEN 1.0 WHEN '{negative}' THEN 0.0 END"
