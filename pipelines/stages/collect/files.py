"""CSV and Parquet files: local ones by a path or a glob, others by a URL that fsspec knows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from glob import glob
from pathlib import Path

import polars as pl

from contract.errors import DataRejectedError, UnavailableError
from pipelines.data import tables
from pipelines.machine import scratch
from pipelines.machine.settings import source_root
from pipelines.params.params import WHOLE, Data
from pipelines.params.source import MONTH, FilesSource
from pipelines.paths import var_directory
from pipelines.stages.collect import lines, parquet, remote, secrets, shape

_KEY = "data.source.path"
_UTF8 = {"utf-8", "utf8", "utf-8-sig", "ascii"}
_HEAD_BYTES = 1 << 20
_REPEAT = re.compile(r"(.+)_duplicated_\d+").fullmatch  # what polars calls the second column of a name
_RECORD = "\x00record"  # no column has this name


def read(data: Data, source: FilesSource, month: str) -> shape.Rows:
    """Return the rows of a month, every value as text where the files are CSV.

    Rows of other months count only where the path of their own month is another one: that month does not read these files.

    Raises:
        UnavailableError: no file is there (yet), or its server does not answer.
        ConfigurationError: a URL, a credential or a certificate is wrong.
        DataRejectedError: a file cannot be read, a column is missing, or a row belongs to no month.
    """
    path = _path_of_month(source.path, month)
    with local_files(path) as files:
        if not files:
            raise UnavailableError(f"{_KEY}: no file matches {str(source_root() / path)!r}")
        try:
            rows = shape.month_of(_scan(files, source), data, source, month)
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, UnicodeDecodeError) as error:
            raise DataRejectedError(
                f"{_KEY}: {path!r} cannot be read as declared ({reason(error, files[0])}); check separator, quote and "
                "encoding, and that all files have the same columns"
            ) from None
    lost = {other: count for other, count in rows.others.items() if _path_of_month(source.path, other) != path}
    return rows._replace(others=lost)


def _path_of_month(path: str, month: str) -> str:
    if month == WHOLE:
        return path
    start = datetime.strptime(month, "%Y-%m")
    return MONTH.sub(lambda match: start.strftime(match[1] or "%Y-%m"), path)


@contextmanager
def local_files(path: str) -> Iterator[list[str]]:
    """Yield the files of a path, a glob or a URL, in order; those of a URL are copies, deleted after the block."""
    if "://" not in path:
        yield sorted(glob(str(source_root() / secrets.expand(_KEY, path))))  # noqa: PTH207 - the path may be absolute
        return
    with scratch.directory(var_directory() / "scratch") as directory:
        yield remote.download(_KEY, path, directory)


def reason(error: BaseException, name: str) -> str:
    """Return the reason why the file cannot be read; unlike the library's message on CSV, it quotes no value."""
    if name.endswith(".parquet"):
        return str(error).splitlines()[0][:200]
    if isinstance(error, UnicodeDecodeError) or "utf-8" in str(error) or "utf8" in str(error):
        return "its bytes are not text in this encoding"
    if "malformed" in str(error) or "escaped" in str(error):
        return "it has quotes that do not enclose a whole field"
    return type(error).__name__


def _scan(files: list[str], source: FilesSource) -> pl.LazyFrame:
    if all(name.endswith(".parquet") for name in files):
        return _without_marks(parquet.scan(files))
    return scan_csv(files, source.separator, source.quote, source.encoding)


def scan_csv(files: list[str], separator: str, quote: str | None, encoding: str) -> pl.LazyFrame:
    """Return every value as text; `tables.RAGGED` has file and line of records with more or fewer fields than the header.

    Raises:
        DataRejectedError: a file is not as declared, or its columns differ from those of the first one.
    """
    frames = [_scan_csv(name, separator, quote, encoding) for name in files]
    columns = [set(frame.collect_schema().names()) - {tables.RAGGED} for frame in frames]
    for name, found in zip(files, columns, strict=True):
        if others := found ^ columns[0]:
            raise DataRejectedError(
                f"{Path(name).name} and {Path(files[0]).name} have different columns: only one of them has "
                f"{shape.named(sorted(others))}; deliver files of one layout: what was not known earlier is an empty column there"
            )
    return pl.concat(frames, how="diagonal")  # the order of columns may differ between files


def _scan_csv(name: str, separator: str, quote: str | None, encoding: str) -> pl.LazyFrame:
    with lines.explained(name):
        content = _as_utf8(name, encoding)
        odd = lines.odd_records(content, separator, quote, Path(name).name)
        table = _without_marks(
            pl.scan_csv(
                content,
                separator=separator,
                quote_char=quote,
                infer_schema=False,
                extra_columns="ignore",
                row_index_name=_RECORD,
            )
        )
        _refuse_repeats(table.collect_schema().names(), Path(name).name)
    if odd.blank:
        table = table.filter(~pl.col(_RECORD).is_in(odd.blank))
    if odd.ragged:
        places = {record: f"{Path(name).name}:{line}" for record, line in odd.ragged.items()}
        place = pl.col(_RECORD).replace_strict(places, default=None, return_dtype=pl.String)
        table = table.with_columns(place.alias(tables.RAGGED))
    return table.drop(_RECORD)


def _refuse_repeats(names: list[str], file: str) -> None:
    """Raise DataRejectedError if two columns have one name, the second of which polars has changed."""
    repeated = [found[1] for name in names if (found := _REPEAT(name)) and found[1] in names]
    if repeated:
        raise DataRejectedError(
            f"{file}: two columns have the same name, or end as polars marks such ones ({shape.named(repeated)}); rename one of them in "
            "the file"
        )


def _without_marks(table: pl.LazyFrame) -> pl.LazyFrame:
    """Return the table; raise DataRejectedError if a column has the name of our own marks."""
    if tables.RAGGED in table.collect_schema():
        raise DataRejectedError(
            f"the source has a column {tables.RAGGED!r}, a name reserved for marking bad lines; rename it there"
        )
    return table


def _as_utf8(name: str, encoding: str) -> str | bytes:
    """Return the file's name if it is UTF-8 with lines that end in LF or CRLF; else its content, converted to that."""
    with lines.opened(name) as stream:
        content = stream.read(_HEAD_BYTES)
        has_line_ends = b"\n" in content or b"\r" not in content
        if encoding.lower() in _UTF8 and has_line_ends:
            return name
        content += stream.read()
    text = content.decode(encoding).removeprefix("\ufeff")
    return (text if "\n" in text else text.replace("\r", "\n")).encode()
