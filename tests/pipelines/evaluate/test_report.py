"""The evaluation report in words."""

from __future__ import annotations

import pytest

from pipelines.params.judging.split import GroupedSplit, PredefinedSplit, Split, StratifiedSplit, TemporalSplit
from pipelines.stages.evaluate.report.page import held_out

YEAR = [f"2013-{month:02d}" for month in range(1, 13)]


@pytest.mark.parametrize(
    ("split", "months", "said"),
    [
        (TemporalSplit(kind="temporal"), YEAR, "the last month of 2013-01 to 2013-12"),
        (TemporalSplit(kind="temporal", holdout="3mo"), YEAR, "the last 3 months of 2013-01 to 2013-12"),
        (TemporalSplit(kind="temporal", holdout="1d"), YEAR[:1], "the last day of 2013-01"),
        (TemporalSplit(kind="temporal", holdout="14d"), YEAR[:1], "the last 14 days of 2013-01"),
        (StratifiedSplit(kind="stratified"), ["all"], "20% at random"),
        (
            GroupedSplit(kind="grouped", column="customer"),
            ["all"],
            "20% at random, with all rows of one “customer” on the same side",
        ),
        (PredefinedSplit(kind="predefined", first=7000), ["all"], "all but the first 7,000"),
        (
            PredefinedSplit(kind="predefined", column="part", holdout=("test", "extra")),
            ["all"],
            "those where “part” is “test” or “extra”",
        ),
    ],
)
def test_report_describes_the_hold_out(split: Split, months: list[str], said: str) -> None:
    assert held_out(split, months) == said
