from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from contract.errors import EXIT_RETRY, DataRejectedError, UnavailableError
from harness import PROJECT
from pipelines import paths
from pipelines.data import tables
from pipelines.params import file as params_file
from pipelines.params.params import Params
from pipelines.stages.collect import flights, stage
from tests.pipelines.conftest import deliveries

FLIGHT = {
    "year": 2013, "month": 1, "day": 2, "sched_dep_time": 2355, "sched_arr_time": 105, "arr_delay": 15, "carrier": "UA",
    "flight": 7, "tailnum": "N1", "origin": "EWR", "dest": "BOS", "distance": 200, "time_hour": "2013-01-03T04:00:00Z",
    # known only after the departure:
    "dep_time": 2359, "dep_delay": 4, "arr_time": 120, "air_time": 50,
}  # fmt: skip
WEATHER = dict.fromkeys(flights._WEATHER, 1.0) | {"origin": "EWR"}


def _joined(changes: list[dict[str, Any]], weather: list[dict[str, Any]]) -> pl.DataFrame:
    return flights.join(
        pl.DataFrame([FLIGHT | change for change in changes]),
        pl.DataFrame([WEATHER | entry for entry in weather]),
        pl.DataFrame([{"tailnum": "N1", "year": 1999, "seats": 150}]),
        pl.DataFrame([{"faa": "BOS", "lat": 42.4, "lon": -71.0, "tzone": "America/New_York"}]),
    )


def test_join_takes_weather_of_the_hour_before_departure() -> None:
    # Departs in hour 04Z. The record named 04Z was observed at 04:51Z, which may be after the departure.
    observed = [
        {"time_hour": "2013-01-03T03:00:00Z", "temp": 33.0},
        {"time_hour": "2013-01-03T04:00:00Z", "temp": 99.0},
    ]
    assert _joined([{}], observed)["temp"].to_list() == [33.0]


def test_join_keeps_every_flight_once_when_nothing_matches_or_keys_repeat() -> None:
    twice = [{"time_hour": "2013-01-03T03:00:00Z", "temp": 1.0}, {"time_hour": "2013-01-03T03:00:00Z", "temp": 2.0}]
    table = _joined([{}, {"origin": "JFK", "tailnum": None, "dest": "XXX"}], twice)
    assert table["temp"].to_list() == [1.0, None]
    assert table["seats"].to_list() == [150.0, None]
    assert table["dest_lat"].to_list() == [42.4, None]


@pytest.mark.parametrize(("delay", "label"), [(14, "on_time"), (15, "late"), (-60, "on_time"), (None, None)])
def test_join_labels_by_fifteen_minutes(delay: int | None, label: str | None) -> None:
    table = _joined([{"arr_delay": delay}, {"arr_delay": 0}], [{"time_hour": "2013-01-03T03:00:00Z"}])
    assert table["arrival"][0] == label


def test_join_moves_arrival_to_the_next_day_when_flight_lands_after_midnight() -> None:
    table = _joined([{}, {"sched_dep_time": 600, "sched_arr_time": 730}], [{"time_hour": "2013-01-03T03:00:00Z"}])
    assert table["scheduled_departure"].to_list() == [datetime(2013, 1, 2, 23, 55), datetime(2013, 1, 2, 6, 0)]
    assert table["scheduled_arrival"].to_list() == [datetime(2013, 1, 3, 1, 5), datetime(2013, 1, 2, 7, 30)]


def test_column_of_flights_is_declared_as_known_later_when_it_is_known_only_after_departure() -> None:
    known_later = {"actual_departure", "actual_arrival", "departure_delay", "arrival_delay"}
    table = _joined([{}], [{"time_hour": "2013-01-03T03:00:00Z"}])
    assert not {"dep_time", "dep_delay", "arr_time", "arr_delay", "air_time"} & set(table.columns)
    params = params_file.load(PROJECT / "params.yaml")
    assert set(table.columns) == {*params.data.columns, params.target.column}
    assert {name for name, column in params.data.columns.items() if column.is_later} == known_later


@pytest.mark.parametrize(
    ("change", "departed", "landed"),
    [
        ({}, "2013-01-03T04:59", "2013-01-03T06:20"),
        ({"dep_delay": None, "arr_delay": None}, None, None),
        # 02:30 in Denver is 04:30 in New York.
        ({"dest": "DEN", "sched_arr_time": 230}, "2013-01-03T04:59", "2013-01-03T09:45"),
        ({"dest": "SJU", "sched_arr_time": 455}, "2013-01-03T04:59", "2013-01-03T09:10"),
        # The local time of landing is earlier than that of the departure, on the same day.
        (
            {"dest": "DEN", "sched_dep_time": 1200, "sched_arr_time": 1155, "time_hour": "2013-01-02T17:00:00Z"},
            "2013-01-02T17:04",
            "2013-01-02T19:10",
        ),
        ({"dest": "XXX"}, "2013-01-03T04:59", None),
    ],
)
def test_actual_times_of_flights_are_in_utc(change: dict[str, Any], departed: str | None, landed: str | None) -> None:
    table = flights.join(
        pl.DataFrame([FLIGHT | change], schema_overrides={"dep_delay": pl.Int64, "arr_delay": pl.Int64}),
        pl.DataFrame([WEATHER | {"time_hour": "2013-01-03T03:00:00Z"}]),
        pl.DataFrame([{"tailnum": "N1", "year": 1999, "seats": 150}]),
        pl.DataFrame(
            [
                {"faa": "BOS", "lat": 42.4, "lon": -71.0, "tzone": "America/New_York"},
                {"faa": "DEN", "lat": 39.9, "lon": -104.7, "tzone": "America/Denver"},
            ]
        ),
    )
    for name, expected in (("actual_departure", departed), ("actual_arrival", landed)):
        at = None if expected is None else datetime.fromisoformat(expected).replace(tzinfo=UTC)
        assert table[name].to_list() == [at]


def test_actual_times_are_an_hour_apart_when_the_clock_shows_the_same_twice() -> None:
    # 3 November 2013, 01:30 in New York: first at 05:30, then at 06:30 UTC.
    hours = [
        {"day": 3, "month": 11, "sched_dep_time": 130, "time_hour": f"2013-11-03T0{hour}:00:00Z"} for hour in (5, 6)
    ]
    table = _joined(hours, [{"time_hour": "2013-11-03T03:00:00Z"}])
    assert table["scheduled_departure"].n_unique() == 1
    assert table["departure_utc"].diff().to_list() == [None, timedelta(hours=1)]


def test_month_of_flights_has_the_published_counts() -> None:
    table = flights.month_of_flights("2013-02")
    assert table.height == 24_951
    assert table["arrival"].null_count() == 24_951 - 23_611
    assert table.select("scheduled_departure", "carrier", "flight", "origin").is_duplicated().sum() == 0


def _csv(table: pl.DataFrame, path: str = "deliveries.csv") -> None:
    table.write_csv(path, null_value="", datetime_format="%Y-%m-%dT%H:%M:%S")


def test_collect_takes_one_month_and_types_it_when_source_is_csv(workspace: Path, params: Params) -> None:
    table = deliveries(datetime(2024, 1, 15), 30)
    _csv(table)
    stage.run(params, "2024-02")
    partition = pl.read_parquet(paths.partition("2024-02"))
    expected = table.filter(pl.col("promised") >= datetime(2024, 2, 1)).sort("order")
    assert partition.equals(expected.select(partition.columns))


def test_collect_gives_the_same_bytes_twice(workspace: Path, params: Params) -> None:
    _csv(deliveries(datetime(2024, 1, 1), 31))
    stage.run(params, "2024-01")
    first = paths.partition("2024-01").read_bytes()
    stage.run(params, "2024-01")
    assert paths.partition("2024-01").read_bytes() == first


def test_collect_can_be_retried_when_month_is_not_there_yet(workspace: Path, params: Params) -> None:
    _csv(deliveries(datetime(2024, 1, 1), 31))
    with pytest.raises(UnavailableError, match="2024-03") as caught:
        stage.run(params, "2024-03")
    assert caught.value.exit_code == EXIT_RETRY
    assert not paths.partition("2024-03").exists()


def test_collect_takes_a_hole_for_no_passing_thing(workspace: Path, params: Params) -> None:
    _csv(pl.concat([deliveries(datetime(2024, 1, 1), 31), deliveries(datetime(2024, 3, 1), 31)]))
    with pytest.raises(DataRejectedError, match="no rows of 2024-02, but 620 of later months"):
        stage.run(params, "2024-02")


def test_collect_loses_no_row_when_times_are_unreadable(workspace: Path, params: Params) -> None:
    _csv(deliveries(datetime(2024, 1, 1), 31))
    text = Path("deliveries.csv").read_text().replace("2024-01-07T", "someday ")
    Path("deliveries.csv").write_text(text)
    with pytest.raises(DataRejectedError, match=r"20 of 620 rows have no readable time in column 'promised'"):
        stage.run(params, "2024-01")


def test_conform_makes_null_of_a_cell_that_cannot_be_read_and_writes_its_reason_down(params: Params) -> None:
    table = pl.DataFrame({"distance": ["1.5", "far"], "weight": ["2", None], "outcome": ["kept", "kept"]})
    conformed = stage.conform(table, params.data, params.target).table
    assert conformed["distance"].to_list() == [1.5, None]
    assert conformed["weight"].to_list() == [2.0, None]
    assert conformed[tables.UNREADABLE].to_list() == [None, '[["distance", "must be a number", "far"]]']
