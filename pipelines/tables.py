"""Reading and writing tables, and the calendar of partitions and splits."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl

from contract.errors import ConfigurationError, DataRejectedError
from contract.files import atomic_path
from pipelines import paths
from pipelines.params import TargetParams, TemporalSplit

# Columns of the encoded training table beside the features.
LABEL = "__label__"
TIME = "__time__"


def write(table: pl.DataFrame, path: Path) -> None:
    """Write Parquet under a temporary name, fsync, rename. The same table gives the same bytes."""
    with atomic_path(path) as temporary:
        table.write_parquet(temporary, compression="zstd", statistics=True)


def read(path: Path) -> pl.DataFrame:
    """Read one Parquet file.

    Raises:
        DataRejectedError: the file is missing, cut or changed so that it cannot be read.
    """
    try:
        return pl.read_parquet(path, memory_map=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = str(error).splitlines()[0][:200]
        raise DataRejectedError(
            f"{path} cannot be read ({reason}); delete it and run `dvc repro` to collect it anew"
        ) from error


def read_partitions(months: Sequence[str]) -> pl.DataFrame:
    """The rows of these months, in their order."""
    return pl.concat([read(paths.partition(month)) for month in months])


def month_bounds(month: str) -> tuple[datetime, datetime]:
    """First moment of a month, and of the next one."""
    start = datetime.strptime(month, "%Y-%m")
    return start, offset(start, "1mo")


def offset(at: datetime, period: str) -> datetime:
    """`at` moved by a period such as `1mo`, `-1mo` or `-10d`."""
    moved: datetime = pl.select(pl.lit(at).dt.offset_by(period)).item()
    return moved


def split_points(months: Sequence[str], split: TemporalSplit) -> tuple[datetime, datetime, datetime]:
    """Where validation, hold-out and the future begin.

    Raises:
        ConfigurationError: nothing is left to train on.
    """
    first, (_, end) = month_bounds(months[0])[0], month_bounds(months[-1])
    holdout = offset(end, f"-{split.holdout}")
    validation = offset(holdout, f"-{split.validation}")
    if validation <= first:
        raise ConfigurationError(
            f"split: a hold-out of {split.holdout} and a validation of {split.validation} leave nothing to train on in "
            f"{months[0]} … {months[-1]}; collect more months (data.months), or shorten split.holdout or split.validation"
        )
    return validation, holdout, end


def columns_of(table: pl.DataFrame, names: Sequence[str]) -> dict[str, list[Any]]:
    """The named columns as Python lists, as the encoder takes them."""
    return {name: table[name].to_list() for name in names}


def positives(table: pl.DataFrame, target: TargetParams) -> pl.Series:
    """The label as Int8: 1 for the positive value, 0 for the negative one, null for none."""
    codes = {target.labels[0]: 0, target.labels[1]: 1}
    return table[target.column].replace_strict(codes, default=None, return_dtype=pl.Int8)
