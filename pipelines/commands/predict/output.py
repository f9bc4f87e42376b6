"""Tables written row by row as they come, Parquet or CSV, and there only once they are whole."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
from polars.io.plugins import register_io_source

from contract.errors import ConfigurationError, UsageError
from contract.files import atomic_path

_GROUP_ROWS = 131_072
SUFFIXES = (".parquet", ".csv")
Frames = Callable[[], Iterator[pl.DataFrame]]


def check(path: Path, *, overwrite: bool) -> None:
    """Raise UsageError or ConfigurationError where a table cannot be written, before any work is done."""
    if path.suffix not in SUFFIXES:
        raise UsageError(f"{path} must end in {' or '.join(SUFFIXES)}, the form that is written")
    if not path.parent.is_dir():
        raise ConfigurationError(f"{path}: there is no directory {path.parent}; make it first")
    if path.is_dir():
        raise ConfigurationError(f"{path} is a directory; name a file")
    if path.exists() and not overwrite:
        raise ConfigurationError(
            f"{path} exists, and is complete, for it only appears when it is; name another, or give --overwrite"
        )


def aside(path: Path) -> Path:
    """Return the path of the table with the refused rows."""
    return path.with_name(f"{path.stem}.refused{path.suffix}")


def write(path: Path, frames: Iterator[pl.DataFrame]) -> None:
    """Write a table as its frames come, sync it, and rename it to its path.

    Raises:
        Exception: whatever the frames raised.
    """
    first = next(frames)
    failures: list[BaseException] = []

    def rest(*_: object) -> Iterator[pl.DataFrame]:
        """Yield the frames; Polars would turn what they raise into an error of its own."""
        yield first
        try:
            yield from frames
        except BaseException as error:
            failures.append(error)
            raise

    with atomic_path(path) as temporary:
        try:
            _sink(register_io_source(rest, schema=first.schema), temporary, path.suffix)
        except Exception:
            if failures:
                raise failures[0] from None
            raise


def _sink(table: pl.LazyFrame, temporary: Path, suffix: str) -> None:
    if suffix == ".csv":
        table.sink_csv(temporary, maintain_order=True)
    else:
        table.sink_parquet(
            temporary, compression="zstd", statistics=True, row_group_size=_GROUP_ROWS, maintain_order=True
        )
