"""One table in CSV or Parquet files: the rows of a month."""

from __future__ import annotations

from glob import glob

import polars as pl

from contract.errors import DataRejectedError, Problem, UnavailableError
from pipelines import tables
from pipelines.params import FilesSource


def month_of_files(source: FilesSource, time: str, month: str) -> pl.DataFrame:
    """The rows whose time lies in the month, every value as text where the files are CSV.

    Raises:
        UnavailableError: no file is there (yet).
        DataRejectedError: a row has no readable time, so that it belongs to no month.
    """
    table = _scan(source).drop(source.drop).rename(source.rename).collect()
    if time not in table.columns:
        raise DataRejectedError(
            f"{source.path} has no column {time!r}, which data.time names",
            [Problem(None, column, "is there") for column in table.columns],
        )
    times = _times(table[time])
    if lost := times.null_count():
        raise DataRejectedError(
            f"{source.path}: {lost} of {table.height} rows have no readable time in column {time!r} and belong to no month; "
            "give ISO 8601 local times there"
        )
    start, end = tables.month_bounds(month)
    return table.with_columns(times.alias(time)).filter(pl.col(time).is_between(start, end, closed="left"))


def _scan(source: FilesSource) -> pl.LazyFrame:
    files = sorted(glob(source.path))  # noqa: PTH207 - the path may be absolute
    if not files:
        raise UnavailableError(f"data.source.path: no file matches {source.path!r}")
    if all(name.endswith(".parquet") for name in files):
        return pl.scan_parquet(files)
    return pl.scan_csv(files, separator=source.separator, null_values=list(source.missing), infer_schema=False)


def _times(column: pl.Series) -> pl.Series:
    if column.dtype == pl.String:
        return column.str.to_datetime(time_unit="us", strict=False, ambiguous="null")
    return column.cast(pl.Datetime("us"), strict=False)
