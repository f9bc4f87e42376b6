"""Transforms that are fitted: bins by quantiles, holidays; and declarations that make no sense."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from contract.errors import ConfigurationError
from contract.model import transforms
from contract.schema.schema import FeatureSchema
from pipelines.data.cuts import quantile_edges
from pipelines.params.params import Params
from pipelines.stages.features import fit


def _fitted(raw: dict[str, Any], table: dict[str, Any], in_utc: tuple[str, ...] = ()) -> FeatureSchema:
    params = Params.model_validate(raw)
    return fit.fit_schema(params.name, params.data, params.target, params.features, pl.DataFrame(table), in_utc)


@pytest.mark.parametrize("bins", [2, 4, 10])
def test_quantile_bins_have_about_equally_many_rows_and_no_edge_is_a_row(bins: int) -> None:
    column = np.random.default_rng(1).lognormal(3, 1, 1000).astype(np.float32)
    column[::10] = np.nan
    edges = quantile_edges(column, bins, 10)
    assert len(edges) == bins - 1
    assert not set(edges) & set(column.tolist())
    rows = np.bincount([int(transforms.binned(edges)(value)) for value in column.tolist() if value == value])
    assert abs(rows - 900 / bins).max() <= 1


def test_bins_have_ten_rows_at_least_whatever_is_asked_for() -> None:
    column = np.repeat(np.array([1, 2, 3, 4], np.float32), [500, 9, 9, 12])
    edges = quantile_edges(column, 100, 10)
    assert [float(edge) for edge in edges] == [1.5, 3.5]
    assert quantile_edges(np.full(50, 7, np.float32), 5, 10) == []
    assert quantile_edges(np.full(5, np.nan, np.float32), 5, 10) == []


def test_edges_are_fitted_on_training_rows_or_taken_as_declared(raw: dict[str, Any]) -> None:
    raw["features"] = {
        "thirds": {"transform": "binned", "input": "distance", "quantiles": 3},
        "near": {"transform": "binned", "input": "distance", "edges": [5, 50]},
    }
    schema = _fitted(raw, {"distance": [float(number) for number in range(90)]})
    assert [feature.options for feature in schema.features] == [{"edges": [29.5, 59.5]}, {"edges": [5.0, 50.0]}]
    with pytest.raises(ConfigurationError, match=r"features\.thirds: no two bins of 'distance'"):
        _fitted(raw, {"distance": [1.0] * 90})


def test_holidays_are_those_of_the_years_of_training_and_five_more(raw: dict[str, Any]) -> None:
    raw["features"] = {"free": {"transform": "holiday", "input": "promised", "country": "US", "subdivision": "NY"}}
    at = [datetime(2012, 5, 1), datetime(2013, 12, 24), None]
    options = _fitted(raw, {"promised": at}).features[0].options
    assert (options["first_year"], options["last_year"]) == (2012, 2018)
    assert {"2012-01-02", "2013-07-04", "2018-12-25"} <= set(options["dates"])  # the first in lieu of a Sunday
    assert all("2012" <= day[:4] <= "2018" for day in options["dates"])
    free = transforms.make("holiday", options)
    assert [free(datetime(2013, 7, day)) for day in (3, 4, 5)] == [0.0, 1.0, 0.0]
    assert np.isnan(free(datetime(2019, 7, 4)))


def test_holidays_may_be_those_of_declared_years_alone(raw: dict[str, Any]) -> None:
    raw["features"] = {"free": {"transform": "holiday", "input": "promised", "country": "DE", "years": [2024, 2024]}}
    options = _fitted(raw, {"promised": [datetime(2012, 5, 1)]}).features[0].options
    assert (options["first_year"], options["last_year"], options["dates"][0]) == (2024, 2024, "2024-01-01")


@pytest.mark.parametrize(("country", "subdivision"), [("XX", None), ("DE", "NY")])
def test_calendar_that_is_not_known_is_refused_by_name(
    raw: dict[str, Any], country: str, subdivision: str | None
) -> None:
    raw["features"] = {
        "free": {"transform": "holiday", "input": "promised", "country": country, "subdivision": subdivision}
    }
    with pytest.raises(ConfigurationError, match=rf"features\.free: .*{country}"):
        _fitted(raw, {"promised": [datetime(2012, 5, 1)]})


def test_holidays_without_a_row_that_has_a_year_ask_for_years(raw: dict[str, Any]) -> None:
    raw["features"] = {"free": {"transform": "holiday", "input": "promised", "country": "US"}}
    with pytest.raises(ConfigurationError, match="declare `years`"):
        _fitted(raw, {"promised": pl.Series([None, None], dtype=pl.Datetime("us"))})


def test_time_between_local_times_and_ones_with_an_offset_is_refused(raw: dict[str, Any]) -> None:
    raw["data"]["columns"]["ordered"] = {"kind": "timestamp"}
    raw["features"] = {"lead": {"transform": "elapsed", "inputs": ["ordered", "promised"], "unit": "d"}}
    table = {"ordered": [datetime(2024, 1, 1)], "promised": [datetime(2024, 1, 2)]}
    for in_utc in ((), ("ordered", "promised")):
        assert _fitted(raw, table, in_utc).features[0].options == {"unit": "d"}
    with pytest.raises(ConfigurationError, match=r"features\.lead: 'promised' has local times"):
        _fitted(raw, table, ("ordered",))


@pytest.mark.parametrize(
    ("feature", "said"),
    [
        ({"transform": "is_missing", "input": "distance"}, "'distance' is required, so it is never missing"),
        ({"transform": "is_missing", "input": "order"}, "of kind identifier"),
        ({"transform": "difference", "inputs": ["distance", "promised"]}, "difference takes columns of kind number"),
        ({"transform": "elapsed", "inputs": ["distance", "promised"], "unit": "h"}, "elapsed takes columns of kind timestamp"),
        ({"transform": "elapsed", "inputs": ["promised", "promised"]}, "unit"),
        ({"transform": "text_length", "input": "distance"}, "text_length takes columns of kind category"),
        ({"transform": "binned", "input": "distance"}, "either `edges` or `quantiles`"),
        ({"transform": "binned", "input": "distance", "edges": [1], "quantiles": 3}, "either `edges` or `quantiles`"),
        ({"transform": "binned", "input": "distance", "edges": [2, 1]}, "the edges must ascend"),
        ({"transform": "binned", "input": "distance", "edges": [1, 1]}, "the edges must ascend"),
        ({"transform": "binned", "input": "secret", "quantiles": 3}, "its quantiles may not enter the bundle"),
        ({"transform": "holiday", "input": "born", "country": "US"}, "its years may not enter the bundle"),
        ({"transform": "holiday", "input": "promised", "country": "usa"}, "country"),
        ({"transform": "holiday", "input": "promised", "country": "US", "years": [2020, 2019]}, "the first and the last one"),
    ],
)  # fmt: skip
def test_feature_that_makes_no_sense_is_refused(raw: dict[str, Any], feature: dict[str, Any], said: str) -> None:
    raw["data"]["columns"] |= {"secret": {"kind": "number", "pii": True}, "born": {"kind": "timestamp", "pii": True}}
    raw["features"] = {"x": feature}
    with pytest.raises(ValidationError, match=said):
        Params.model_validate(raw)
