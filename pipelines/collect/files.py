"""CSV and Parquet files: local ones by a path or a glob, others by a URL that fsspec knows."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from glob import glob
from pathlib import Path

import polars as pl

from contract.errors import DataRejectedError, UnavailableError
from pipelines import tables
from pipelines.collect import remote, secrets, shape
from pipelines.params import WHOLE, Data, FilesSource

_KEY = "data.source.path"
_MONTH = re.compile(r"\{month(?::([^}]+))?\}")
_UTF8 = {"utf-8", "utf8", "utf-8-sig", "ascii"}


def read(data: Data, source: FilesSource, month: str) -> pl.DataFrame:
    """The rows of a month, every value as text where the files are CSV.

    Raises:
        UnavailableError: no file is there (yet), or its server does not answer.
        ConfigurationError: a URL, a credential or a certificate is wrong.
        DataRejectedError: a file cannot be read, a column is not there, or a row belongs to no month.
    """
    path = _path_of_month(source.path, month)
    with local_files(path) as files:
        if not files:
            raise UnavailableError(f"{_KEY}: no file matches {path!r}")
        try:
            return shape.month_of(_scan(files, source), data, source, month)
        except (pl.exceptions.PolarsError, UnicodeDecodeError) as error:
            reason = type(error).__name__ if isinstance(error, UnicodeDecodeError) else str(error).splitlines()[0][:200]
            raise DataRejectedError(
                f"{_KEY}: {path!r} cannot be read as declared ({reason}); check separator, quote and encoding, and that all "
                "files have the same columns"
            ) from error


def _path_of_month(path: str, month: str) -> str:
    if month == WHOLE:
        return path
    start = tables.month_bounds(month)[0]
    return _MONTH.sub(lambda match: start.strftime(match[1] or "%Y-%m"), path)


@contextmanager
def local_files(path: str) -> Iterator[list[str]]:
    """The files that a path, a glob or a URL means, in order; those of a URL are copies that last as long as the block."""
    if "://" not in path:
        yield sorted(glob(secrets.expand(_KEY, path)))  # noqa: PTH207 - the path may be absolute
        return
    with tempfile.TemporaryDirectory(prefix="bulkhead-collect-") as directory:
        yield remote.download(_KEY, path, Path(directory))


def _scan(files: list[str], source: FilesSource) -> pl.LazyFrame:
    if all(name.endswith(".parquet") for name in files):
        return pl.scan_parquet(files)
    return scan_csv(files, source.separator, source.quote, source.encoding)


def scan_csv(files: list[str], separator: str, quote: str | None, encoding: str) -> pl.LazyFrame:
    """Every value as text."""
    content = files if encoding.lower() in _UTF8 else [_recoded(name, encoding) for name in files]
    return pl.scan_csv(content, separator=separator, quote_char=quote, infer_schema=False)


def _recoded(name: str, encoding: str) -> bytes:
    content = Path(name).read_bytes()
    if name.endswith(".gz"):
        import gzip

        content = gzip.decompress(content)
    return content.decode(encoding).removeprefix("\ufeff").encode()
