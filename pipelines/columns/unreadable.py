"""The unreadable cells of a partition, in an additional column of JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping

import polars as pl

from pipelines.data.tables import UNREADABLE


def written(raw: pl.DataFrame, problems: Mapping[str, pl.Series]) -> pl.Series | None:
    """Return the column `UNREADABLE`, or None if every cell is readable.

    Args:
        raw: the table of the source.
        problems: the reason for each unreadable value, else null, by column.
    """
    rows: dict[int, list[tuple[str, str, str]]] = {}
    for name, found in problems.items():
        for row in found.is_not_null().arg_true().to_list():
            rows.setdefault(row, []).append((name, found[row], _shown(raw, row, name)))
    if not rows:
        return None
    texts = [json.dumps(rows[row], ensure_ascii=False) if row in rows else None for row in range(raw.height)]
    return pl.Series(UNREADABLE, texts, dtype=pl.String)


def by_column(table: pl.DataFrame) -> dict[str, pl.Series]:
    """Return a mask of the unreadable cells of every column that has some."""
    rows: dict[str, list[int]] = {}
    if UNREADABLE in table.columns:
        cells = table[UNREADABLE]
        for row in cells.is_not_null().arg_true().to_list():
            for name, _, _ in json.loads(cells[row]):
                rows.setdefault(name, []).append(row)
    return {name: pl.Series(name, [False] * table.height).scatter(found, True) for name, found in rows.items()}


def _shown(raw: pl.DataFrame, row: int, name: str) -> str:
    """Return the value as text; a date outside Python's years as the number that stores it."""
    cell = raw[name].slice(row, 1)
    try:
        return str(cell.item())
    except ValueError:
        return str(cell.to_physical().item())
