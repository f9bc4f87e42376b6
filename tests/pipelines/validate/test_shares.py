"""A month with exactly the declared share of gaps or of values outside is accepted, with one more it is not."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from contract.errors import DataRejectedError
from pipelines import paths
from pipelines.params.params import Params
from pipelines.stages.validate import rows, stage, suite
from tests.pipelines.conftest import write_months

FEBRUARY = "2024-02"  # 580 rows


def _changed(raw: dict[str, Any], column: str, values: pl.Expr) -> tuple[Params, pl.DataFrame]:
    path = paths.partition(FEBRUARY)
    table = pl.read_parquet(path).with_columns(values.alias(column))
    table.write_parquet(path)
    raw["validate"]["drift"] = None
    return Params.model_validate(raw), table


@pytest.mark.parametrize(("count", "is_accepted"), [(406, True), (407, False)])
def test_month_with_the_very_share_of_gaps_is_accepted(
    workspace: Path, raw: dict[str, Any], count: int, is_accepted: bool
) -> None:
    write_months(workspace)
    raw["data"]["columns"]["weight"]["missing"] = 0.7  # 1 - 0.7 is more than 0.3
    values = pl.when(pl.int_range(pl.len()) < count).then(None).otherwise(pl.int_range(pl.len()).cast(pl.Float64))
    params, _ = _changed(raw, "weight", values)
    expected = nullcontext() if is_accepted else pytest.raises(DataRejectedError, match="407 of 580")
    with expected:
        stage.run(params)


@pytest.mark.parametrize(("count", "reasons"), [(29, {}), (30, {"range:distance": 30})])
def test_rows_stay_when_the_very_share_is_outside(
    workspace: Path, raw: dict[str, Any], count: int, reasons: dict[str, int]
) -> None:
    write_months(workspace)
    raw["data"]["columns"]["distance"]["tolerance"] = 0.29  # 0.29 * 100 is less than 29
    values = pl.when(pl.int_range(pl.len()) < count).then(101.0).otherwise(pl.col("distance"))
    params, table = _changed(raw, "distance", values)
    assert rows.split(table.head(100), params.data, params.target, FEBRUARY).counts == reasons


@pytest.mark.parametrize(("count", "is_accepted"), [(29, True), (30, False)])
def test_month_with_the_very_budget_of_bad_rows_is_accepted(
    workspace: Path, raw: dict[str, Any], count: int, is_accepted: bool
) -> None:
    write_months(workspace)
    raw["validate"] |= {"budget": 0.29, "rows": [50, 5000], "freshness": None}
    values = pl.when(pl.int_range(pl.len()) < count).then(101.0).otherwise(pl.col("distance"))
    params, table = _changed(raw, "distance", values)
    table.head(100).write_parquet(paths.partition(FEBRUARY))
    expected = nullcontext() if is_accepted else pytest.raises(DataRejectedError, match="30 of 100")
    with expected:
        stage.run(params)


@pytest.mark.parametrize("hundredths", range(101))
def test_share_of_the_others_is_the_quotient_of_their_number(hundredths: int, raw: dict[str, Any]) -> None:
    raw["data"]["columns"]["weight"] |= {"missing": hundredths / 100, "tolerance": hundredths / 100}
    params = Params.model_validate(raw)
    asked = suite.expectations(params.data, params.target, params.validate_, FEBRUARY, ())
    found = [
        each["kwargs"]["mostly"]
        for each in asked
        if each["kwargs"].get("column") == "weight" and "mostly" in each["kwargs"]
    ]
    assert found == [(100 - hundredths) / 100] * 2


def test_value_at_a_bound_is_within_it_as_a_float32_column_holds_it(workspace: Path, raw: dict[str, Any]) -> None:
    write_months(workspace)
    raw["data"]["columns"]["distance"] |= {"minimum": 0.7, "maximum": 99.3}
    values = pl.when(pl.int_range(pl.len()) % 2 == 0).then(float(np.float32(0.7))).otherwise(float(np.float32(99.3)))
    for month in raw["data"]["months"]:
        path = paths.partition(month)
        pl.read_parquet(path).with_columns(values.alias("distance")).write_parquet(path)
    params, table = _changed(raw, "distance", values)
    assert rows.split(table, params.data, params.target, FEBRUARY).counts == {}
    stage.run(params)
