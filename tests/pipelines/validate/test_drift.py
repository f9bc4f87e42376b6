"""A month that is distributed as none before it is found; one that is as unlike as months of this table are, is not."""

from __future__ import annotations

import json
from calendar import monthrange
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy import stats

from contract.errors import DataRejectedError
from pipelines import paths
from pipelines.params.params import Params
from pipelines.stages.validate import drift, stage
from tests.pipelines.conftest import deliveries

MONTHS = [f"2024-{month:02}" for month in range(1, 9)]
LAST = MONTHS[-1]


def _season(month: int, rows: int = 2000) -> pl.Series:
    """A temperature in °C that goes up and down with the year."""
    return pl.Series("temp", np.random.default_rng(month).normal(10 - 12 * np.cos(month / 12 * 2 * np.pi), 5, rows))


def _failures(columns: dict[str, pl.Series], name: str = "temp") -> list[str]:
    summaries = {month: {name: drift.summarize(column)} for month, column in columns.items()}
    judged = drift.judge(summaries, 0.01)
    return [month for month, outcomes in judged.items() if not all(outcome["success"] for outcome in outcomes)]


def test_psi_is_the_one_of_the_formula() -> None:
    before, after = pl.Series(["a"] * 600 + ["b"] * 400), pl.Series(["a"] * 300 + ["b"] * 650 + [None] * 50)
    p, q = (np.array([600.5, 400.5, 0.5]) / 1001.5, np.array([300.5, 650.5, 50.5]) / 1001.5)
    found = drift.difference(drift.summarize(before), drift.summarize(after))
    assert found.psi == pytest.approx(sum((q - p) * np.log(q / p)))
    assert found.p_value == pytest.approx(stats.chi2_contingency([[600, 400, 0], [300, 650, 50]]).pvalue)


def test_bound_is_a_prediction_limit_of_the_history() -> None:
    generator = np.random.default_rng(1)
    history = np.abs(generator.normal(1, 0.2, (4000, 9))) ** 2
    exceeded = [float(row[-1]) > float(drift.bound(row[:-1].tolist(), 0.05) or 0) for row in history]
    assert np.mean(exceeded) == pytest.approx(0.05, abs=0.012)
    assert drift.bound([0.2, 0.3], 0.01) is None
    assert drift.bound([0.001, 0.002, 0.001, 0.002], 0.01) == 0.1


def test_seasons_are_no_alarm_and_another_unit_is() -> None:
    sound = {f"{year}-{month:02}": _season(12 * year + month) for year in (2022, 2023) for month in range(1, 13)}
    assert _failures(sound) == []
    in_fahrenheit = {**sound, "2023-07": sound["2023-07"] * 1.8 + 32}
    assert _failures(in_fahrenheit) == ["2023-07"]


@pytest.mark.parametrize(
    ("change", "is_found"),
    [
        (lambda column: column, False),
        (lambda column: column * 1.609, True),
        (lambda column: column.replace(0.0, 5.0), True),
        (lambda column: pl.Series("x", [None if row % 3 else value for row, value in enumerate(column)]), True),
        (lambda column: column.sample(12, seed=1), False),
    ],
    ids=["same", "miles", "zeros", "nulls", "few-rows"],
)
def test_a_number_of_which_half_are_zero(change: Callable[[pl.Series], pl.Series], is_found: bool) -> None:
    columns = {}
    for index, month in enumerate(MONTHS):
        amounts = np.random.default_rng(index).gamma(2, 50, 3000) * (np.random.default_rng(index).random(3000) < 0.5)
        columns[month] = pl.Series("x", amounts)
    columns[LAST] = change(columns[LAST])
    assert _failures(columns) == ([LAST] if is_found else [])


def test_a_month_is_judged_by_the_months_before_it_alone() -> None:
    summaries = {month: {"temp": drift.summarize(_season(index))} for index, month in enumerate(MONTHS)}
    whole = drift.judge(summaries, 0.01)
    part = drift.judge({month: summaries[month] for month in MONTHS[:6]}, 0.01)
    assert part == {month: whole[month] for month in MONTHS[:6]}
    assert [outcome["observed"]["bound"] is None for month in MONTHS for outcome in whole[month]] == [True] * 3 + [
        False
    ] * 4


def _write(change: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
    for month in MONTHS:
        start = datetime.strptime(month, "%Y-%m")
        table = deliveries(start, monthrange(start.year, start.month)[1])
        paths.partition(month).parent.mkdir(parents=True, exist_ok=True)
        (change(table) if month == LAST else table).write_parquet(paths.partition(month))


@pytest.mark.parametrize("allowed", [None, "reviewed", "may_drift", "off"])
def test_a_drifted_month_is_quarantined_unless_somebody_looked_at_it(
    workspace: Path, raw: dict[str, Any], allowed: str | None
) -> None:
    raw["data"]["months"] = MONTHS
    if allowed == "reviewed":
        raw["validate"]["reviewed"] = [LAST]
    elif allowed == "may_drift":
        raw["data"]["columns"]["distance"]["may_drift"] = True
    elif allowed == "off":
        raw["validate"]["drift"] = None
    _write(lambda table: table.with_columns(pl.col("distance") / 1.609))
    params = Params.model_validate(raw)
    if allowed:
        assert "expectations hold on 8 months" in stage.run(params)
        return
    with pytest.raises(DataRejectedError, match=r"field 'distance': 2024-08: drift from all earlier months: PSI"):
        stage.run(params)
    report = json.loads(paths.VALIDATION.read_bytes())
    assert [report[month]["success"] for month in MONTHS] == [True] * 7 + [False]
