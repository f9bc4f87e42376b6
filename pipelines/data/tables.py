"""Tables on disk, and the calendar of partitions."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from contract.errors import DataRejectedError
from contract.files import atomic_path
from contract.schema.tasks import TASKS
from pipelines import paths
from pipelines.params.params import TargetParams

# Column of a partition with ragged lines of a CSV file: file and line, null in complete rows.
RAGGED = "__ragged__"
# Column of a partition with unreadable cells: JSON, a list of `[column, reason, value]`, null in readable rows.
UNREADABLE = "__unreadable__"
MARKS = frozenset({RAGGED, UNREADABLE})
# Key in a file's metadata: the timestamps that had an offset in the source, and are in UTC now.
_IN_UTC = "bulkhead.in_utc"


def write(table: pl.DataFrame, path: Path, in_utc: Collection[str] = (), rows_in_group: int | None = None) -> None:
    """Write Parquet under a temporary name, fsync, rename; the same table gives the same bytes.

    Args:
        in_utc: the timestamps that had an offset in the source, recorded in the file's metadata.
        rows_in_group: largest number of rows in a row group; by default Polars decides.
    """
    metadata = {_IN_UTC: json.dumps(sorted(in_utc))} if in_utc else None
    with atomic_path(path) as temporary:
        table.write_parquet(
            temporary, compression="zstd", statistics=True, metadata=metadata, row_group_size=rows_in_group
        )


def columns_in_utc(*files: Path) -> frozenset[str]:
    """Return the timestamps of these partitions that had an offset in the source; raises as `read` does."""
    found: set[str] = set()
    for path in files:
        with _readable(path):
            found.update(marked_in_utc(path))
    return frozenset(found)


def marked_in_utc(file: Path) -> list[str]:
    """Return the columns that the metadata of a Parquet file calls timestamps in UTC; raises as Polars does."""
    marked: list[str] = json.loads(pl.read_parquet_metadata(file).get(_IN_UTC, "[]"))
    return marked


def read(path: Path, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """Read one Parquet file, or some of its columns.

    Raises:
        DataRejectedError: the file is missing or corrupt.
    """
    with _readable(path):
        return pl.read_parquet(path, columns=None if columns is None else list(columns), memory_map=False)


def read_where(path: Path, columns: Sequence[str], condition: pl.Expr) -> pl.DataFrame:
    """Read the rows of one Parquet file that meet a condition, or some of their columns; raises as `read` does."""
    with _readable(path):
        return pl.scan_parquet(path).filter(condition).select(columns).collect()


def read_slice(path: Path, start: int, rows: int) -> pl.DataFrame:
    """Read up to `rows` rows of one Parquet file, of the row groups that hold them; raises as `read` does."""
    with _readable(path):
        return pl.scan_parquet(path).slice(start, rows).collect()


def columns_in(path: Path) -> dict[str, pl.DataType]:
    """Return names and types of a Parquet file's columns, in their order; raises as `read` does."""
    with _readable(path):
        return dict(pl.read_parquet_schema(path))


def height(path: Path) -> int:
    """Return the number of rows of a Parquet file; raises as `read` does."""
    with _readable(path):
        rows: int = pl.scan_parquet(path).select(pl.len()).collect().item()
    return rows


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = str(error).splitlines()[0][:200]
        raise DataRejectedError(
            f"{path} cannot be read ({reason}); delete it and run `dvc repro` to collect it again"
        ) from error


def read_partitions(months: Sequence[str], columns: Sequence[str] | None = None) -> pl.DataFrame:
    """Return the accepted rows of these months, in their order."""
    return pl.concat([read(paths.accepted(month), columns) for month in months])


def month_bounds(month: str) -> tuple[datetime, datetime]:
    """Return the first moment of a month, and of the next one."""
    start = datetime.strptime(month, "%Y-%m")
    return start, offset(start, "1mo")


def offset(at: datetime, period: str) -> datetime:
    """Return `at` moved by a period such as `1mo`, `-1mo` or `-10d`."""
    moved: datetime = pl.select(pl.lit(at).dt.offset_by(period)).item()
    return moved


def columns_of(table: pl.DataFrame, names: Sequence[str]) -> dict[str, list[Any]]:
    """Return the named columns as Python lists."""
    return {name: table[name].to_list() for name in names}


def encodable(table: pl.DataFrame, names: Sequence[str]) -> dict[str, Any]:
    """Return the named columns for `Encoder.encode_table`: numbers as float64, NaN where missing, and others as Python lists."""
    columns = (table[name] for name in names)
    return {
        column.name: column.fill_null(math.nan).to_numpy() if column.dtype == pl.Float64 else column.to_list()
        for column in columns
    }


def outcomes(table: pl.DataFrame, target: TargetParams) -> pl.Series:
    """Return the outcomes, null where unknown: the index of the label in `target.labels`, or the number.

    Int8 (1 positive, 0 negative) where a label is the positive one, Int16 of several labels, Float64 of a number.
    """
    column = table[target.column]
    task = TASKS[target.task]
    if task.is_number:
        return column.cast(pl.Float64, strict=False).fill_nan(None)
    codes = {label: code for code, label in enumerate(target.labels)}
    dtype = pl.Int8 if task.has_positive else pl.Int16
    return column.cast(pl.String).replace_strict(codes, default=None, return_dtype=dtype)
