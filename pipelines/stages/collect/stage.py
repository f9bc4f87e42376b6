"""Stage `collect`: one month of the source becomes one immutable Parquet partition."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from contract.errors import BulkheadError, UnavailableError
from contract.files import write_atomically
from pipelines import paths
from pipelines.columns import kinds, unreadable
from pipelines.columns.declared import field_of, outcome_of
from pipelines.data import tables
from pipelines.machine.progress import Months
from pipelines.params.params import Data, Params, TargetParams
from pipelines.stages.collect import ahead, shape, sources

_SHOWN = 10


@dataclass(frozen=True)
class Conformed:
    """A table with each declared column in the canonical form of its kind.

    Attributes:
        table: unreadable cells are null, and their texts stand in `tables.UNREADABLE`.
        in_utc: timestamps that had an offset, and are in UTC now.
    """

    table: pl.DataFrame
    in_utc: tuple[str, ...]


def run(params: Params, month: str) -> str:
    """Collect a month such as `2013-01`, or `all` of a table without time; return a line of counts.

    Below `dvc repro`, collect the other missing months ahead.
    """
    later = ahead.missing(list(params.data.months), month)
    place = ahead.fresh_directory(month) if later else None
    progress = Months("collected", 1 + len(later) if place else 1)
    said = collect(params, month, paths.partition(month), progress)
    if place:
        _collect_ahead(params, later, place, progress)
    return said


def _collect_ahead(params: Params, months: Sequence[str], place: Path, progress: Months) -> None:
    for month in months:
        # Its own process meets the same failure, and says so.
        with suppress(BulkheadError, OSError):
            said = collect(params, month, place / f"{month}.parquet", progress)
            write_atomically(place / f"{month}.txt", said.encode())


def collect(params: Params, month: str, path: Path, progress: Months) -> str:
    """Write a month's partition to a path and return a line of counts."""
    data, target = params.data, params.target
    raw, others = sources.read(data, month)
    shape.require(raw.columns, dict.fromkeys(data.columns, "data.columns") | {target.column: "target.column"})
    if raw.is_empty():
        raise UnavailableError(f"the source holds no rows of {month}; has it been delivered yet?")
    conformed = conform(raw, data, target)
    table = shape.in_order(conformed.table, data.key)
    tables.write(table, path, conformed.in_utc)
    progress.tell(month, table.height)
    twice = raw.height - table.height
    unlabelled = table[target.column].null_count()
    return (
        f"{month}: {table.height:,} rows, {unlabelled:,} of them without an outcome"
        + (f"; {twice:,} duplicate rows removed" if twice else "")
        + _beside(sum(others.values()))
        + _ragged(table)
        + _unread(table)
    )


def _beside(others: int) -> str:
    """Return what is said of rows that no month collects, since their own months read other files."""
    if not others:
        return ""
    return f"; {others:,} rows of other months left out: by data.source.path those months read other files"


def _ragged(table: pl.DataFrame) -> str:
    if tables.RAGGED not in table.columns:
        return ""
    places = table[tables.RAGGED].drop_nulls()
    shown = ", ".join(places.head(_SHOWN)) + (", …" if len(places) > _SHOWN else "")
    return f"; lines with more or fewer fields than the header, for `validate` to split off: {len(places):,} ({shown})"


def conform(table: pl.DataFrame, data: Data, target: TargetParams) -> Conformed:
    """Convert each declared column value by value, as serving converts the values of a request.

    Undeclared columns stay as they are; `validate` refuses them, and missing ones, by name.

    Raises:
        DataRejectedError: the type of a column is unsupported for its kind, or its times have and lack an offset.
    """
    fields = {name: field_of(name, data) for name in data.columns} | {target.column: outcome_of(target, data)}
    made, problems, in_utc = [], {}, []
    for name, dtype in table.schema.items():
        if name not in fields:
            kinds.check_flat(name, dtype)
            continue
        converted = kinds.convert(table[name], fields[name])
        made.append(converted.values)
        problems[name] = converted.problems
        if fields[name].kind == "timestamp":
            shape.refuse_foreign_times(name, converted)
        with_offset, known = int(converted.has_offset.sum()), converted.has_offset.count()
        shape.refuse_mixed(name, with_offset, known - with_offset)
        if with_offset:
            in_utc.append(name)
    unread = unreadable.written(table, problems)
    return Conformed(table.with_columns(made if unread is None else [*made, unread]), tuple(in_utc))


def _unread(table: pl.DataFrame) -> str:
    counts = {name: cells.sum() for name, cells in unreadable.by_column(table).items()}
    if not counts:
        return ""
    named = ", ".join(f"{count:,} of {name!r}" for name, count in counts.items())
    return f"; unreadable values: {named} (validate.budget limits the rows that may be split off)"
