"""Partitions as views of a DuckDB file, which Great Expectations reads without loading a table into Python."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from pathlib import Path

from pipelines.params import TargetParams
from pipelines.validate.suite import POSITIVE


class _Dialect(enum.StrEnum):
    DUCKDB = "duckdb"


def teach_duckdb() -> None:
    """What Great Expectations and DuckDB's SQLAlchemy dialect do not know of each other.

    One connection is to be kept: without that, temporary tables are gone (GX issue 11579). And every keyword is to be quoted, not
    the reserved ones alone: a column may be called `at`.
    """
    import duckdb
    from duckdb_engine import DuckDBIdentifierPreparer
    from great_expectations.execution_engine import sqlalchemy_execution_engine as engine

    if _Dialect.DUCKDB not in engine._PERSISTED_CONNECTION_DIALECTS:
        engine._PERSISTED_CONNECTION_DIALECTS = (*engine._PERSISTED_CONNECTION_DIALECTS, _Dialect.DUCKDB)
    with duckdb.connect() as connection:
        keywords = connection.execute("SELECT keyword_name FROM duckdb_keywords()").fetchall()
    DuckDBIdentifierPreparer.reserved_words = {
        *DuckDBIdentifierPreparer.reserved_words,
        *(word for (word,) in keywords),
    }


def view_name(month: str) -> str:
    return f"month_{month.replace('-', '_')}"


def create_views(database: Path, files: Mapping[str, Path], target: TargetParams) -> None:
    """One view a month: its file, NaN as null, and the label as a number (1 positive, 0 negative, null none) beside it."""
    import duckdb

    with duckdb.connect(str(database)) as connection:
        for month, path in files.items():
            file = str(path.resolve()).replace("'", "''")
            described = connection.execute(f"DESCRIBE SELECT * FROM read_parquet('{file}')").fetchall()
            kinds = {row[0]: row[1] for row in described}
            label = _label(target) if target.column in kinds and target.task == "binary" else "CAST(NULL AS DOUBLE)"
            values = ", ".join(_value(name, kind) for name, kind in kinds.items())
            connection.execute(
                f"CREATE VIEW {view_name(month)} AS SELECT {values}, {label} AS \"{POSITIVE}\" FROM read_parquet('{file}')"
            )


def _value(name: str, kind: str) -> str:
    quoted = '"' + name.replace('"', '""') + '"'
    return f"nullif({quoted}, CAST('NaN' AS {kind})) AS {quoted}" if kind in ("FLOAT", "DOUBLE") else quoted


def _label(target: TargetParams) -> str:
    negative, positive = (label.replace("'", "''") for label in target.labels)
    column = '"' + target.column.replace('"', '""') + '"'
    return f"CASE CAST({column} AS VARCHAR) WHEN '{positive}' THEN 1.0 WHEN '{negative}' THEN 0.0 END"
