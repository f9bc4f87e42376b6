"""The measures by month and by slice of the hold-out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from contract.transforms import CALENDAR_PARTS
from pipelines.measures import Labels, Scores, measure
from pipelines.params import Slice

# Fewer rows say little; such a slice is left out of the tables.
_FEWEST_ROWS = 30


def by_month(times: pl.Series, labels: Labels, scores: Scores) -> dict[str, dict[str, float]]:
    return _by(times.dt.strftime("%Y-%m").to_list(), labels, scores)


def by_slice(table: pl.DataFrame, slices: Sequence[Slice], labels: Labels, scores: Scores) -> dict[str, dict[str, Any]]:
    """Slice name -> value -> measures, with the number of rows and the positive share."""
    return {entry.name: _by(_values(table[entry.column], entry), labels, scores) for entry in slices}


def _values(column: pl.Series, entry: Slice) -> list[str]:
    if entry.part is None:
        return [str(value) for value in column.to_list()]
    read, _ = CALENDAR_PARTS[entry.part]
    return [f"{read(at):02d}" for at in column.to_list()]


def _by(values: list[str], labels: Labels, scores: Scores) -> dict[str, dict[str, float]]:
    keys = np.array(values)
    measured = {}
    for value in sorted(set(values)):
        rows = keys == value
        if (count := int(rows.sum())) >= _FEWEST_ROWS:
            share = float(labels[rows].mean())
            measured[value] = {"rows": count, "positive_rate": share, **measure(labels[rows], scores[rows])}
    return measured
