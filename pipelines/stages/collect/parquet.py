"""Parquet files as lazy tables, with types that polars misreads: Spark's INT96 timestamps, and intervals of other databases."""

from __future__ import annotations

import polars as pl

from contract.errors import DataRejectedError

_DESCRIBED = "SELECT DISTINCT name, type, converted_type FROM parquet_schema($files)"


def scan(files: list[str]) -> pl.LazyFrame:
    """Return the table of all files.

    INT96, which Spark writes, is read in microseconds. In nanoseconds, the default of polars, times after 2262 would overflow.

    Raises:
        DataRejectedError: a file has an INTERVAL, on which polars panics.
    """
    import duckdb

    try:
        found = duckdb.execute(_DESCRIBED, {"files": files}).fetchall()
    except duckdb.Error:
        found = []  # polars says what is wrong with the file
    if intervals := sorted(name for name, _, converted in found if converted == "INTERVAL"):
        raise DataRejectedError(
            f"the source has the column {intervals[0]!r} as INTERVAL, which is unsupported; "
            "write it as a number, such as seconds, or leave it out of the file"
        )
    table = pl.scan_parquet(files)
    if old := [name for name, physical, _ in found if physical == "INT96"]:
        schema = table.collect_schema()
        return pl.scan_parquet(files, schema=dict(schema) | {name: pl.Datetime("us") for name in old if name in schema})
    return table
