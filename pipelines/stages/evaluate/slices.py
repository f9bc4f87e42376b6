"""The measures by month and by slice of the hold-out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from contract.model.transforms import CALENDAR_PARTS
from pipelines.params.judging.evaluate import Slice
from pipelines.statistics.measures import Outcomes, Scores, describe
from pipelines.statistics.tasks import Judgement

# Fewer rows say little; such a slice is left out of the tables.
_FEWEST_ROWS = 30


def by_month(judgement: Judgement, times: pl.Series, outcomes: Outcomes, scores: Scores) -> dict[str, dict[str, float]]:
    """Return the measures by month, such as `2013-01`, as `by_slice` does by value."""
    return _by(judgement, times.dt.strftime("%Y-%m").to_list(), outcomes, scores)


def by_slice(
    judgement: Judgement, table: pl.DataFrame, slices: Sequence[Slice], outcomes: Outcomes, scores: Scores
) -> dict[str, dict[str, Any]]:
    """Return slice name -> value -> measures, with the number of rows and the positive share or the mean."""
    return {entry.name: _by(judgement, _values(table[entry.column], entry), outcomes, scores) for entry in slices}


def _values(column: pl.Series, entry: Slice) -> list[str]:
    if entry.part is None:
        return [str(value) for value in column.to_list()]
    read, _ = CALENDAR_PARTS[entry.part]
    return ["" if at is None else f"{read(at):02d}" for at in column.to_list()]


def _by(judgement: Judgement, values: list[str], outcomes: Outcomes, scores: Scores) -> dict[str, dict[str, float]]:
    keys = np.array(values)
    measured = {}
    for value in sorted(set(values)):
        rows = keys == value
        if (count := int(rows.sum())) >= _FEWEST_ROWS:
            described = describe(judgement.form, outcomes[rows])
            measured[value] = {"rows": count, **described, **judgement.measure(outcomes[rows], scores[rows])}
    return measured
