"""Groups of rows: by value, by bin, by part of a time, and crossed."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import polars as pl
import pytest
from pydantic import ValidationError

from pipelines.params.judging.evaluate import Groups, Slice
from pipelines.params.params import Params
from pipelines.stages.evaluate.slices import groups

TABLE = pl.DataFrame(
    {
        "wind": [0.0, 10.0, 19.9, 20.0, None, 40.0],
        "origin": ["JFK", "EWR", None, "JFK", "EWR", "EWR"],
        "stops": [1.0, 2.0, 10.0, 2.0, None, 1.0],
        "wet": [True, False, None, True, True, False],
        "at": [datetime(2024, 1, day, 7 + day) for day in range(1, 7)],
    }
)


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"column": "wind", "edges": [10, 20]}, "below 10|10 to 20|10 to 20|20 and more|(missing)|20 and more"),
        (
            {"column": "wind", "quantiles": 2},
            "below 19.9|below 19.9|19.9 and more|19.9 and more|(missing)|19.9 and more",
        ),
        ({"column": "origin"}, "JFK|EWR|(missing)|JFK|EWR|EWR"),
        ({"column": "stops"}, "1|2|10|2|(missing)|1"),
        ({"column": "wet"}, "true|false|(missing)|true|true|false"),
        ({"column": "at", "part": "hour"}, "08|09|10|11|12|13"),
        ({"column": "at", "part": "weekday"}, "00|01|02|03|04|05"),
        (
            {"column": "origin", "cross": {"column": "wet"}},
            "JFK, true|EWR, false|(missing), (missing)|JFK, true|EWR, true|EWR, false",
        ),
    ],
)
def test_rows_are_grouped(entry: dict[str, Any], expected: str) -> None:
    assert groups.of_slice(TABLE, Slice.model_validate(entry)).to_list() == expected.split("|")


def test_groups_ascend_by_number_and_not_by_letter() -> None:
    assert groups.names_of(groups.of_rows(TABLE["stops"], Groups(column="stops"))) == ["1", "2", "10", "(missing)"]
    bins = groups.of_rows(TABLE["wind"], Groups(column="wind", edges=(5, 10)))
    assert groups.names_of(bins) == ["below 5", "10 and more", "(missing)"]


def test_column_without_any_value_is_one_group() -> None:
    empty = pl.Series("wind", [None, None], dtype=pl.Float64)
    for entry in (Groups(column="wind"), Groups(column="wind", quantiles=4), Groups(column="wind", edges=(1,))):
        assert groups.of_rows(empty, entry).to_list() == ["(missing)"] * 2


@pytest.mark.parametrize(
    ("entry", "complaint"),
    [
        ({"column": "colour"}, "evaluate.slices names the column 'colour', which data.columns does not have"),
        ({"column": "depot", "edges": [1]}, "bins go with a number only (the kind of 'depot' is category)"),
        ({"column": "depot", "quantiles": 4}, "bins go with a number only"),
        ({"column": "distance", "edges": [5, 1]}, "edges of 'distance' must ascend"),
        ({"column": "distance", "edges": []}, "at least 1 item"),
        ({"column": "distance", "edges": [float("nan")]}, "finite number"),
        ({"column": "distance", "quantiles": 1}, "greater than or equal to 2"),
        ({"column": "distance", "edges": [1], "quantiles": 2}, "declare one of the two"),
        ({"column": "depot", "part": "hour"}, "goes with a timestamp only"),
        ({"column": "promised"}, "name a part of it"),
        ({"column": "depot", "cross": {"column": "depot"}}, "crosses the column 'depot' with itself"),
        (
            {"column": "promised", "part": "hour", "cross": {"column": "promised", "part": "hour"}},
            "crosses the column 'promised' with itself",
        ),
        ({"column": "depot", "cross": {"column": "colour"}}, "evaluate.slices.cross names the column 'colour'"),
    ],
)
def test_slice_that_cannot_be_made_is_named(raw: dict[str, Any], entry: dict[str, Any], complaint: str) -> None:
    raw["evaluate"]["slices"] = [entry]
    with pytest.raises(ValidationError) as refused:
        Params.model_validate(raw)
    assert complaint in str(refused.value)


def test_hours_by_weekdays_are_a_cross(raw: dict[str, Any]) -> None:
    cross = {"column": "promised", "part": "weekday"}
    raw["evaluate"]["slices"] = [{"column": "promised", "part": "hour", "cross": cross}]
    assert Params.model_validate(raw).evaluate.slices[0].name == "promised_hour and promised_weekday"


@pytest.mark.parametrize(
    ("section", "entry", "complaint"),
    [
        ("gates", {"slice_margin": -0.1}, "greater than 0"),
        ("gates", {"slice_margin": 0.1, "slices": "most"}, "'some' or 'every'"),
        (
            "gates",
            {"fairness_gap": {"rate": 0.1}},
            "gates.fairness_gap needs a target with labels, and a column marked protected",
        ),
        ("gates", {"fairness_gap": {"rate": -0.1}}, "greater than 0"),
        ("gates", {"fairness_gap": {"luck": 0.1}}, "Input should be 'rate'"),
        ("evaluate", {"slice_rows": 1}, "greater than or equal to 10"),
        ("evaluate", {"slices": [{"column": "depot"}, {"column": "depot"}]}, "lists 'depot' twice"),
    ],
)
def test_settings_that_cannot_hold_are_named(
    raw: dict[str, Any], section: str, entry: dict[str, Any], complaint: str
) -> None:
    raw[section] |= entry
    with pytest.raises(ValidationError) as refused:
        Params.model_validate(raw)
    assert complaint in str(refused.value)


def test_margin_without_slices_is_named(raw: dict[str, Any]) -> None:
    raw["evaluate"]["slices"], raw["gates"]["slice_margin"] = [], 0.1
    with pytest.raises(ValidationError, match=r"gates\.slice_margin needs evaluate\.slices"):
        Params.model_validate(raw)


def test_values_that_would_enter_the_bundle_are_refused(raw: dict[str, Any]) -> None:
    raw["data"]["columns"]["depot"] = {"kind": "category", "pii": True}
    raw["features"] = {"distance": {"transform": "value"}}
    with pytest.raises(ValidationError, match=r"marked pii; its values would enter the bundle"):
        Params.model_validate(raw)
    raw["evaluate"]["slices"], raw["data"]["columns"]["depot"]["protected"] = [], True
    with pytest.raises(ValidationError, match="protected cannot be marked pii"):
        Params.model_validate(raw)


def test_protected_and_searched_columns_have_groups_too(raw: dict[str, Any]) -> None:
    raw["data"]["columns"]["depot"]["protected"] = True
    columns = Params.model_validate(raw).data.columns
    table = pl.DataFrame(
        {
            "promised": [datetime(2024, 1, 1, hour) for hour in range(24)],
            "depot": ["north", "south"] * 12,
            "distance": [float(number) for number in range(24)],
            "weight": [None] * 24,
            "order": [str(number) for number in range(24)],
        },
        schema_overrides={"weight": pl.Float64},
    )
    found = groups.all_groups(table, (), columns, search=True)
    assert list(found) == [
        "protected.depot",
        "searched.promised_hour",
        "searched.promised_weekday",
        "searched.depot",
        "searched.distance",
        "searched.weight",
    ]
    assert groups.names_of(found["searched.distance"]) == ["below 5", "5 to 11", "11 to 17", "17 and more"]
    assert list(groups.all_groups(table, (), columns, search=False)) == ["protected.depot"]
