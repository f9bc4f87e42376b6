"""The measures by month and by slice of the hold-out, without bounds."""

from __future__ import annotations

from typing import Any

import polars as pl

from pipelines.stages.evaluate.slices.groups import codes_of, names_of
from pipelines.statistics.measures import Outcomes, Scores, describe
from pipelines.statistics.tasks import Judgement


def by_month(
    judgement: Judgement, times: pl.Series, outcomes: Outcomes, scores: Scores, fewest: int
) -> dict[str, dict[str, float]]:
    """Return the measures by month, such as `2013-01`, as `by_group` does by value."""
    months = times.dt.strftime("%Y-%m")
    return by_group(judgement, months.cast(pl.Enum(months.unique().sort())), outcomes, scores, fewest)


def by_group(
    judgement: Judgement, groups: pl.Series, outcomes: Outcomes, scores: Scores, fewest: int
) -> dict[str, dict[str, Any]]:
    """Return value -> measures, with the number of rows and the positive share or the mean; groups with fewer rows are left out."""
    codes, measured = codes_of(groups), {}
    for code, value in enumerate(names_of(groups)):
        rows = codes == code
        if (count := int(rows.sum())) >= fewest:
            described = describe(judgement.form, outcomes[rows])
            measured[value] = {"rows": count, **described, **judgement.measure(outcomes[rows], scores[rows])}
    return measured
