"""`python -m pipelines predictions LOGS --out DIRECTORY`: the servers' predictions as tables.

One log file becomes one Parquet file, `DIRECTORY/<model>/<name of the log>.parquet`, written whole. Reading a log again only adds the
rows written since.
"""

from __future__ import annotations

import argparse
import fcntl
from pathlib import Path

import numpy as np
import polars as pl

from contract.errors import ConfigurationError, DataRejectedError
from contract.prediction_log.records import SUFFIX, Batch, Header, Reader
from pipelines.columns import answers
from pipelines.data import tables


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `predictions`, and `run`, a function of the options."""
    parser.add_argument("logs", type=Path, help="the servers' BULKHEAD_PREDICTION_LOG")
    parser.add_argument("--out", type=Path, required=True, help="the directory for the tables")
    text = "remove the logs that were read and that no server still writes"
    parser.add_argument("--remove", action="store_true", help=text)
    parser.set_defaults(run=_run)


def _run(options: argparse.Namespace) -> int:
    if not options.logs.is_dir():
        raise ConfigurationError(f"{options.logs} is not a directory")
    rows, unreadable, removed = 0, 0, 0
    paths = sorted(options.logs.glob(f"*{SUFFIX}"))
    for path in paths:
        found, lost, size = convert(path, options.out)
        rows, unreadable = rows + found, unreadable + lost
        removed += options.remove and found > 0 and _remove(path, size)
    print(
        f"{rows:,} predictions of {len(paths)} logs in {options.out}; {unreadable:,} bytes unreadable; {removed} logs removed"
    )
    return 0


def convert(path: Path, directory: Path) -> tuple[int, int, int]:
    """Write the table of a log; return its rows, the unreadable bytes, and the size of the log read.

    Raises:
        DataRejectedError: the file is not a prediction log.
    """
    try:
        reader = Reader(path)
    except DataRejectedError as error:
        raise DataRejectedError(f"{path}: {error.message}") from error
    size = path.stat().st_size
    batches = list(reader.batches(size))
    if reader.header is None or not batches:
        return 0, reader.unreadable_bytes, size
    table = pl.concat([_table(reader.header, batch) for batch in batches])
    tables.write(table, directory / reader.header.version[:12] / f"{path.stem}.parquet")
    return table.height, reader.unreadable_bytes, size


def _table(header: Header, batch: Batch) -> pl.DataFrame:
    """Return the rows with `__time__` (UTC), `__request_id__` (null without one), `__row__` in the request, and `__model__`.

    The features are the model's inputs: float32, NaN for missing. The answer is that of
    `pipelines.columns.answers`.
    """
    known = {
        "__time__": pl.Series(batch.times).cast(pl.Datetime("ns", "UTC")),
        "__request_id__": pl.Series([text or None for text in batch.request_ids], dtype=pl.String),
        "__row__": batch.positions,
        "__model__": pl.Series([header.version] * len(batch.positions), dtype=pl.String),
    }
    features = {name: np.ascontiguousarray(batch.matrix[:, at]) for at, name in enumerate(header.features)}
    scores = batch.scores.astype(np.float64)
    return pl.DataFrame(known | features | answers.columns(header.task, header.labels, header.threshold, scores))


def _remove(path: Path, size: int) -> bool:
    """Remove a log, unless a server still writes it or has written since; return whether it is removed."""
    with path.open("rb") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        is_read = path.stat().st_size == size  # a log only grows, so an equal size means that all of it was read
        if is_read:
            path.unlink()
        return is_read
