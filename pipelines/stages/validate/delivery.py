"""A delivered month: bad rows split off, the rest accepted, and its columns summarised."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from contract.files import atomic_path
from pipelines import paths
from pipelines.columns.kinds import KINDS
from pipelines.data import tables
from pipelines.params.params import Column, Data, TargetParams
from pipelines.stages.validate import drift, rows


@dataclass(frozen=True)
class Month:
    """The facts of a month before any verdict.

    Attributes:
        file: rows to judge: the accepted ones, or all if more than the budget would be split off.
        rows: number of rows of the partition.
        split: number of bad rows by reason; a row may have several.
        split_rows: number of bad rows.
        ragged: file and line of rows with more or fewer fields than the header of their CSV file.
        in_utc: timestamps that had an offset at the source.
        varying: whether a column has several values, by column that has any.
        summaries: of the outcome and of the columns whose distribution is watched.
    """

    file: Path
    rows: int
    split: dict[str, int]
    split_rows: int
    ragged: tuple[str, ...]
    in_utc: frozenset[str]
    varying: dict[str, bool]
    summaries: dict[str, drift.Summary]


def deliver(data: Data, target: TargetParams, budget: float, month: str) -> Month:
    """Write the accepted and the quarantined rows of a month, as far as the budget allows; return its facts.

    Without a budget no row is split off, and a month without unreadable values is read one column at a time.

    Raises:
        DataRejectedError: the partition is truncated or unreadable.
    """
    partition = paths.partition(month)
    total, split, split_rows = tables.height(partition), {}, 0
    in_utc, ragged = tables.columns_in_utc(partition), _ragged(partition)
    is_marked = not tables.MARKS.isdisjoint(tables.columns_in(partition))
    if budget or is_marked:
        parts = rows.split(tables.read(partition), data, target, month)
        split, split_rows = parts.counts, parts.quarantined.height
        if (split or is_marked) and not rows.exceeds(split_rows, total, budget):
            tables.write(parts.accepted, paths.accepted(month), in_utc)
            if split:
                tables.write(parts.quarantined, paths.QUARANTINED / partition.name, in_utc)
    if not split and not is_marked:
        with atomic_path(paths.accepted(month)) as temporary:
            shutil.copyfile(partition, temporary)
    file = paths.accepted(month) if paths.accepted(month).exists() else partition
    return Month(file, total, split, split_rows, ragged, in_utc, *_look_at(file, data.columns, target.column))


def _ragged(partition: Path) -> tuple[str, ...]:
    if tables.RAGGED not in tables.columns_in(partition):
        return ()
    return tuple(tables.read(partition, [tables.RAGGED])[tables.RAGGED].drop_nulls())


def _look_at(
    file: Path, columns: Mapping[str, Column], target: str
) -> tuple[dict[str, bool], dict[str, drift.Summary]]:
    varying, summaries = {}, {}
    for name in tables.columns_in(file):
        if name in tables.MARKS:
            continue
        values, column = tables.read(file, [name])[name], columns.get(name)
        if column and KINDS[column.kind].varies and values.null_count() < len(values):
            varying[name] = _has_several(values)
        is_watched = column and KINDS[column.kind].drifts and not column.may_drift
        if is_watched or name == target:
            summaries[name] = drift.summarize(values)
    return varying, summaries


def _has_several(values: pl.Series) -> bool:
    known = values.drop_nulls()
    return bool(known.min() != known.max())
