"""The table to score, in batches of bounded size: Parquet, CSV, or a query of a database."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import polars as pl
from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from contract.errors import ConfigurationError, DataRejectedError
from pipelines.columns import kinds
from pipelines.data.tables import RAGGED, marked_in_utc
from pipelines.params.source import FilesSource, SqlSource
from pipelines.stages.collect import files, parquet

if TYPE_CHECKING:  # SQLAlchemy takes a third of a second to import
    from pipelines.stages.collect import sql

_CELLS = 2_000_000  # of a batch, so that wide tables need no more memory than narrow ones
_READ_AT_ONCE = 4  # batches; each read of a row group begins at its start, so few large reads take less than many
_MOST_ROWS, _FEWEST_ROWS = 32_768, 1_024
_CSV = (".csv", ".csv.gz")
_DECLARED = (".yaml", ".yml")
_KINDS: dict[str, type[FilesSource | SqlSource]] = {"files": FilesSource, "sql": SqlSource}


class Table(Protocol):
    """A table to score."""

    @property
    def schema(self) -> Mapping[str, pl.DataType | None]:
        """The types of its columns, in their order; None where they are known with the rows."""
        ...

    def batches(self, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Yield some columns of all rows, in their order; CSV files also have `RAGGED`."""
        ...


@contextmanager
def opened(place: str) -> Iterator[Table]:
    """Yield the table in a file, a directory of parts, a glob, a URL, or a declaration of `data.source` in YAML.

    Raises:
        ConfigurationError: there is no such file, or it is not such a table.
        DataRejectedError: it cannot be read.
        UnavailableError: a server or a database does not answer.
    """
    source = _declared(Path(place)) if place.endswith(_DECLARED) else FilesSource(kind="files", version="", path=place)
    if isinstance(source, SqlSource):
        from pipelines.stages.collect import sql

        with sql.statement(source) as (names, rows):
            yield _Rows(names, rows)
        return
    local = source.path if "://" in source.path else str(Path(source.path).absolute())
    if Path(local).is_dir():
        yield _of_files(_parts(Path(local)), source)
        return
    with files.local_files(local) as names:
        if not names:
            raise ConfigurationError(f"there is no file {place!r}")
        yield _of_files(names, source)


def _declared(path: Path) -> FilesSource | SqlSource:
    """Return the source that a file declares: a mapping such as `data.source`, or a whole `params.yaml`."""
    try:
        raw: Any = YAML(typ="safe").load(path)
    except (OSError, YAMLError) as error:
        raise ConfigurationError(f"{path} cannot be read: {' '.join(str(error).split())}") from None
    if isinstance(raw, dict) and isinstance(raw.get("data"), dict):
        raw = raw["data"].get("source")
    kind = _KINDS.get(raw.get("kind", "")) if isinstance(raw, dict) else None
    if kind is None:
        raise ConfigurationError(f"{path} declares no source with `kind: files` or `kind: sql`, as data.source does")
    try:
        return kind.model_validate({"version": "", **raw})
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigurationError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def _parts(directory: Path) -> list[str]:
    """Return the parts of a table in a directory, by their paths; names that begin with `_` or `.` are other things, as to Spark."""
    found = sorted(
        path
        for path in directory.rglob("*")
        if path.is_file() and not any(part[0] in "_." for part in path.relative_to(directory).parts)
    )
    if not found:
        raise ConfigurationError(f"the directory {directory} has no Parquet or CSV files")
    return list(map(str, found))


def _of_files(names: list[str], source: FilesSource) -> Table:
    if all(name.endswith(".parquet") for name in names):
        return _Parquet(names)
    if all(name.endswith(_CSV) for name in names):
        return _Csv(names, source)
    other = next(name for name in names if not name.endswith((".parquet", *_CSV)) or not name.endswith(names[0][-4:]))
    raise ConfigurationError(
        f"{Path(other).name} is not a file of a table: all must end in .parquet, or all in .csv or .csv.gz"
    )


def _rows_at_once(columns: int) -> int:
    return max(_FEWEST_ROWS, min(_MOST_ROWS, _CELLS // max(1, columns)))


class _Parquet:
    """Parquet files of one layout, one after the other."""

    def __init__(self, names: list[str]) -> None:
        self._names = names
        with _readable(names[0]):
            self.schema: dict[str, pl.DataType | None] = dict(_scan(names[0]).collect_schema())

    def batches(self, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        at_once = _rows_at_once(len(columns))
        for name in self._names:
            with _readable(name):
                scan = _scan(name)
                self._require_layout(name, scan.collect_schema(), columns)
                height = scan.select(pl.len()).collect().item()
                # By slices: of one large row group, as some writers make, only the pages of the slice are read.
                for first in range(0, height, at_once * _READ_AT_ONCE):
                    read = scan.slice(first, at_once * _READ_AT_ONCE).select(columns).collect()
                    yield from read.iter_slices(at_once)

    def _require_layout(self, name: str, found: Mapping[str, pl.DataType], columns: Sequence[str]) -> None:
        for column in columns:
            if found.get(column) != self.schema[column]:
                raise DataRejectedError(
                    f"the parts of the table differ: {Path(name).name} has {column!r} as {found.get(column, 'no column')}, and "
                    f"{Path(self._names[0]).name} as {self.schema[column]}; write them with one schema"
                )


def _scan(name: str) -> pl.LazyFrame:
    """Return a Parquet file; the times that one of our own has in UTC, without saying so in their type, say so.

    Another program may have changed or dropped such a column, and have kept the file's metadata.
    """
    scan, marked = parquet.scan([name]), marked_in_utc(Path(name))
    found = scan.collect_schema() if marked else {}
    in_utc = [column for column in marked if isinstance(kind := found.get(column), pl.Datetime) and not kind.time_zone]
    return scan.with_columns(pl.col(in_utc).dt.replace_time_zone("UTC")) if in_utc else scan


class _Csv:
    """CSV files of one layout, every value as text."""

    def __init__(self, names: list[str], source: FilesSource) -> None:
        self._name = names[0]
        with _readable(names[0]):
            self._scan = files.scan_csv(names, source.separator, source.quote, source.encoding)
            found = self._scan.collect_schema()
        self._has_ragged = RAGGED in found
        self.schema: dict[str, pl.DataType | None] = {name: kind for name, kind in found.items() if name != RAGGED}

    def batches(self, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        wanted = self._scan.select([*columns, RAGGED] if self._has_ragged else columns)
        with _readable(self._name):
            yield from wanted.collect_batches(chunk_size=_rows_at_once(len(columns)), maintain_order=True, lazy=True)


class _Rows:
    """The rows of a database; types are known batch by batch."""

    def __init__(self, names: list[str], rows: sql.Rows) -> None:
        self.schema: dict[str, pl.DataType | None] = dict.fromkeys(names)
        self._rows = rows

    def batches(self, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        yield from self._rows(_rows_at_once(len(self.schema)), columns)


def as_kept(table: pl.DataFrame, columns: Sequence[str], schema: Mapping[str, pl.DataType | None]) -> list[pl.Series]:
    """Return columns to keep; those whose type is not known beforehand as text."""
    return [kinds.as_text(table[name]) if schema[name] is None else table[name] for name in columns]


@contextmanager
def _readable(name: str) -> Iterator[None]:
    try:
        yield
    except (OSError, UnicodeDecodeError, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        said = files.reason(error, name)
        raise DataRejectedError(
            f"{name} cannot be read ({said}); for CSV with another separator, quote or encoding give a declaration of the source in YAML"
            if not name.endswith(".parquet")
            else f"{name} cannot be read ({said})"
        ) from None
