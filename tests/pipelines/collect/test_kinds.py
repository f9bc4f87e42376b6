"""From the types of a source to canonical columns: a closed table, in which every cast gives what the conversion of a value gives."""

from __future__ import annotations

import json
import math
import random
from base64 import b64decode
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from contract.errors import DataRejectedError
from contract.schema import kinds as one_value
from contract.schema.schema import Field
from pipelines import paths
from pipelines.columns import kinds
from pipelines.data import tables
from pipelines.params.params import Params
from pipelines.stages.collect import parquet
from pipelines.stages.collect import stage as collect_stage
from pipelines.stages.validate import rows as row_checks
from pipelines.stages.validate import stage as validate_stage
from tests.pipelines.collect.collecting import collect, rows_of, write_csv
from tests.pipelines.conftest import deliveries

NOON = datetime(2024, 1, 2, 12)
# A table of 2024-01-02T03:04:05, 9999-12-31 and 0001-01-01 as INT96, as Spark writes it; pyarrow made it, with store_schema=False.
SPARK = b64decode(
    "UEFSMRUEFUgVSEwVBhUAEgAAADJNnQsKAACYiiUAAAAAAAAAAAAs/lEAAAAAAAAAAABSRBoAFQAVFBUULBUGFRAVBhUGHAAAAAIAAAAGAQIDJAAVBBksNQAYBnNjaGVtYRUC"
    "ABUGJQIYAmF0ABYGGRwZHCYAHBUGGTUABhAZGAJhdBUAFgYWngEWngEmbCYIKSwVBBUAFQIAFQAVEBUCADwpBhkmAAYAAAAWngEWBiYIFp4BACggcGFycXVldC1jcHAtYXJy"
    "b3cgdmVyc2lvbiAyNi4wLjEZHBwAAACKAAAAUEFSMQ=="
)

COLUMNS = {
    "text": pl.Series(["1", " 2.50 ", "true", "no", "?", "", None, "2024-01-02", "2024-01-02 12:00", "NaN", "1e39", "-1", "x"]),
    "categorical": pl.Series(["1", "?", None, "no"], dtype=pl.Categorical),
    "enum": pl.Series(["1", "?", None, "no"], dtype=pl.Enum(["1", "?", "no"])),
    "binary": pl.Series([b"1", b"?", None, b"ada"], dtype=pl.Binary),
    "int8": pl.Series([0, 1, -1, 9, None], dtype=pl.Int8),
    "uint64": pl.Series([0, 2**64 - 1, 20240102, None], dtype=pl.UInt64),
    "int64": pl.Series([0, 2**53 + 1, -1, 1704196800, 20240102, None], dtype=pl.Int64),
    "float32": pl.Series([0.1, 1.0, -1.0, math.nan, math.inf, None], dtype=pl.Float32),
    "float64": pl.Series([0.1, 1.0, -1.0, -0.0, math.nan, math.inf, 1e39, 1e300, 1704196800.5, None], dtype=pl.Float64),
    "decimal": pl.Series([Decimal("1.00"), Decimal("1.50"), Decimal("-1.00"), None], dtype=pl.Decimal(20, 2)),
    "boolean": pl.Series([True, False, None]),
    "date": pl.Series([date(2024, 1, 2), date(1900, 1, 1), None]),
    "time": pl.Series([time(17, 30), time(0, 0, 0, 500), None]),
    "datetime": pl.Series([NOON, datetime(1900, 1, 1), datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59), None], dtype=pl.Datetime("us")),
    "datetime_ms": pl.Series([NOON, None], dtype=pl.Datetime("ms")),
    "datetime_ns": pl.Series([NOON, None], dtype=pl.Datetime("ns")),
}  # fmt: skip
DECLARED = [
    Field("x", "number", missing=("-1", "?")),
    Field("x", "number", decimal=","),
    Field("x", "boolean", missing=("9",)),
    Field("x", "category", missing=("?", "-1")),
    Field("x", "identifier"),
    Field("x", "timestamp", missing=("1900-01-01",)),
    Field("x", "timestamp", unit="s", missing=("-1",)),
    Field("x", "timestamp", unit="ms"),
    Field("x", "timestamp", unit="yyyymmdd", missing=("0",)),
]


def _is_refused(name: str, field: Field) -> bool:
    """The empty places of the table, written down again."""
    if name in ("text", "categorical", "enum", "binary"):
        return False
    if name == "boolean":
        return field.kind in ("number", "timestamp")
    if name == "date":
        return field.kind in ("number", "boolean") or field.unit is not None
    if name == "time":
        return field.kind not in ("category", "identifier")
    if name.startswith("datetime"):
        return field.kind != "timestamp" or field.unit is not None
    return field.kind == "timestamp" and field.unit is None


def _value_by_value(values: pl.Series, field: Field) -> list[tuple[Any, bool]]:
    read = one_value.reader(field)

    def cell(value: Any) -> tuple[Any, bool]:
        if isinstance(value, bytes):
            value = value.decode()
        if isinstance(value, date | time) and not isinstance(value, datetime):
            value = value.isoformat()
        try:
            return read(value), False
        except ValueError:
            return None, True

    return [cell(value) for value in values.to_list()]


@pytest.mark.parametrize("field", DECLARED, ids=lambda field: f"{field.kind}-{field.unit}-{field.decimal}")
@pytest.mark.parametrize("name", COLUMNS)
def test_column_is_what_its_values_are_one_by_one_or_refused_by_name(name: str, field: Field) -> None:
    values = COLUMNS[name].alias("weight")
    if _is_refused(name, field):
        with pytest.raises(DataRejectedError, match=r"the column 'weight' as .*(declare|remove|cast|join)"):
            kinds.convert(values, field)
        return
    converted = kinds.convert(values, field)
    assert converted.values.dtype == kinds.KINDS[field.kind].dtype
    made = list(zip(converted.values.to_list(), converted.problems.is_not_null().to_list(), strict=True))
    assert made == _value_by_value(values, field)


@pytest.mark.parametrize(
    "values",
    [
        pl.Series([-0.0, 1.0]),
        pl.Series([-0.0, 1.0], dtype=pl.Float32),
        pl.Series(["-0", "1"]),
        pl.Series([" -0.0", "+1"]),
    ],
    ids=["double", "float", "plain text", "other text"],
)
def test_there_is_one_zero_when_a_source_has_two(values: pl.Series) -> None:
    made = kinds.convert(values, Field("x", "number", missing=("-9",))).values.to_list()
    assert [math.copysign(1, number) for number in made] == [1, 1]


def test_texts_that_are_cast_at_once_are_what_they_are_one_by_one() -> None:
    chance = random.Random(5)
    numbers = [f"{chance.uniform(-1e6, 1e6):.{chance.randrange(18)}f}" for _ in range(20_000)]
    numbers += [f"{chance.randrange(10**15)}.{chance.randrange(10**18):018}" for _ in range(20_000)] + [
        "-0",
        "-0.0",
        "000",
        "-1",
        "1",
    ]
    times = [
        f"{chance.randrange(10_000):04}-{chance.randrange(14):02}-{chance.randrange(33):02}{chance.choice('T ')}"
        f"{chance.randrange(26):02}:{chance.randrange(62):02}:{chance.randrange(62):02}"
        for _ in range(20_000)
    ]
    for texts, field in (
        (numbers, Field("x", "number", missing=("-1",))),
        (times, Field("x", "timestamp", missing=("1900-01-01",))),
    ):
        converted = kinds.convert(pl.Series(texts), field)
        made = list(zip(converted.values.to_list(), converted.problems.is_not_null().to_list(), strict=True))
        assert made == _value_by_value(pl.Series(texts), field)


@pytest.mark.parametrize(
    ("values", "kind", "words"),
    [
        (pl.Series("x", [{"a": 1}]), "category", "Struct.*cast it at the source"),
        (pl.Series("x", [[1]]), "category", "List"),
        (pl.Series("x", [time(12)]), "timestamp", "Time.*join it with the column of its day"),
        (pl.Series("x", [b"\xff\xfe\x00\x01"]), "identifier", "bytes that are not UTF-8 text .*UUID"),
        (pl.Series("x", [timedelta(seconds=5520)]), "number", "declare its unit: one of us, ms, s"),
        (pl.Series("x", [1704196800000]), "timestamp", "declare its unit: s, ms or us"),
        (pl.Series("x", [True]), "number", "declare kind: boolean"),
        (pl.Series("x", [NOON]), "number", "declare kind: timestamp"),
    ],
)
def test_column_of_another_type_is_refused_with_what_to_do(values: pl.Series, kind: str, words: str) -> None:
    with pytest.raises(DataRejectedError, match=f"column 'x' as .*{words}"):
        kinds.convert(values, Field("x", kind))


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
@pytest.mark.parametrize(("declared", "expected"), [("s", 5520.0), ("min", 92.0), ("ms", 5_520_000.0)])
def test_duration_is_a_number_in_its_declared_unit(unit: Any, declared: str, expected: float) -> None:
    values = pl.Series([timedelta(seconds=5520)], dtype=pl.Duration(unit))
    assert kinds.convert(values, Field("x", "number", unit=declared)).values.to_list() == [expected]


@pytest.mark.parametrize("kind", ["number", "boolean", "category", "timestamp"])
def test_column_without_any_value_is_of_its_kind_whatever_its_type(kind: str) -> None:
    for dtype in (pl.Null, pl.Int32, pl.List(pl.Int8)):
        assert (
            kinds.convert(pl.Series([None, None], dtype=dtype), Field("x", kind)).values.dtype
            == kinds.KINDS[kind].dtype
        )


@pytest.mark.parametrize("dtype", [pl.Date, pl.Datetime("ms"), pl.Datetime("us")])
def test_year_beyond_9999_is_a_bad_cell(dtype: Any) -> None:
    days = pl.Series([0, 2_944_000], dtype=pl.Int32).cast(pl.Date).cast(dtype)
    converted = kinds.convert(days, Field("x", "timestamp"))
    assert converted.values.to_list() == [datetime(1970, 1, 1), None]
    assert converted.problems.to_list() == [None, "must be a timestamp in the years 1 to 9999"]
    assert kinds.convert(days.cast(pl.Date), Field("x", "category")).problems.null_count() == 2


def test_old_timestamps_of_spark_keep_their_year(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(SPARK)
    values = parquet.scan([str(tmp_path / "a.parquet")]).collect()["at"]
    read = kinds.convert(values, Field("at", "timestamp")).values.to_list()
    assert read == [datetime(2024, 1, 2, 3, 4, 5), datetime(9999, 12, 31), datetime(1, 1, 1)]


@pytest.mark.parametrize(
    ("kind", "words"),
    [("INTERVAL", "'lead' as INTERVAL"), ("UUID", "'lead' as bytes.*UUID"), ("MAP(VARCHAR, INT)", "'lead' as Map")],
)
def test_type_that_polars_does_not_read_is_refused_by_name(
    workspace: Path, raw: dict[str, Any], kind: str, words: str
) -> None:
    import duckdb

    value = {"INTERVAL": "INTERVAL 3 DAYS", "UUID": "uuid()"}.get(kind, "MAP {'a': 1}")
    duckdb.sql(
        f"COPY (SELECT TIMESTAMP '2024-01-02' promised, 'a' AS \"order\", {value} AS lead, NULL::VARCHAR depot, 1.5 distance, 1 weight, "
        "'kept' outcome) TO 'd.parquet' (FORMAT parquet)"
    )
    raw["data"]["columns"]["lead"] = {"kind": "category"}
    with pytest.raises(DataRejectedError, match=words):
        collect(raw, path="d.parquet")


@pytest.mark.parametrize("dtype", [pl.Categorical, pl.Binary, pl.Enum(["?", "north", "1.5"])])
def test_sentinel_is_found_in_text_of_another_type(dtype: Any, workspace: Path, raw: dict[str, Any]) -> None:
    table = deliveries(datetime(2024, 1, 1), 3).with_columns(pl.col("weight").cast(pl.String))
    text = pl.Series(["?", "north", "1.5"] * 20)
    raw["data"]["columns"]["weight"]["tolerance"] = 1.0
    table.with_columns(depot=text.cast(dtype), weight=text.cast(dtype)).write_parquet("d.parquet")
    collect(raw, path="d.parquet", missing=["?"])
    partition = pl.read_parquet(paths.partition("2024-01"))
    assert set(partition["depot"].to_list()) == {None, "north", "1.5"}
    assert set(partition["weight"].to_list()) == {None, 1.5}
    assert partition[tables.UNREADABLE].count() == 20


def test_one_code_has_one_text_when_a_later_month_has_gaps(workspace: Path, raw: dict[str, Any]) -> None:
    whole = pl.DataFrame({"code": [1, 2]}, schema={"code": pl.Int64})
    gaps = pl.DataFrame({"code": [1.0, None]}, schema={"code": pl.Float64})
    field = Field("code", "category")
    assert kinds.convert(whole["code"], field).values.to_list() == ["1", "2"]
    assert kinds.convert(gaps["code"], field).values.to_list() == ["1", None]


def test_one_fraction_has_one_text_when_a_file_has_it_as_float32() -> None:
    found = [
        kinds.convert(pl.Series("code", [1.6, 0.1, 75473.28, 2.0, None], dtype=kind), Field("code", "category")).values
        for kind in (pl.Float32, pl.Float64)
    ]
    assert [each.to_list() for each in found] == [["1.6", "0.1", "75473.28", "2", None]] * 2


def test_rows_with_and_without_an_offset_are_refused_with_counts(workspace: Path, raw: dict[str, Any]) -> None:
    text = "promised,order\n2024-01-02T10:00Z,a\n2024-01-03T10:00,b\n2024-01-04T10:00+02:00,c\n"
    with pytest.raises(DataRejectedError, match=r"'promised': 2 times have an offset and 1 have none"):
        rows_of(raw, text)
    raw["data"]["columns"]["packed"] = {"kind": "timestamp", "required": False}
    text = "promised,order,packed\n2024-01-02,a,2024-01-01T10:00Z\n2024-01-03,b,2024-01-01T10:00\n2024-01-03,c,\n"
    with pytest.raises(DataRejectedError, match=r"'packed': 1 times have an offset and 1 have none"):
        rows_of(raw, text)


@pytest.fixture
def months(workspace: Path, raw: dict[str, Any]) -> dict[str, Any]:
    raw["data"]["source"]["path"] = "{month}.csv"
    raw["validate"]["budget"] = 0.01
    return raw


def _collect_months(raw: dict[str, Any], changed: pl.DataFrame) -> None:
    for start, days in ((datetime(2024, 1, 1), 31), (datetime(2024, 2, 1), 29), (datetime(2024, 3, 1), 31)):
        table = changed if start.month == 2 else deliveries(start, days)
        write_csv(table, f"{start:%Y-%m}.csv", separator=raw["data"]["source"].get("separator", ","))
        collect_stage.run(Params.model_validate(raw), f"{start:%Y-%m}")


def test_offsets_in_one_month_and_none_in_another_stop_the_run(months: dict[str, Any]) -> None:
    table = deliveries(datetime(2024, 2, 1), 29)
    _collect_months(months, table.with_columns(pl.col("promised").dt.strftime("%Y-%m-%dT%H:%MZ")))
    assert tables.columns_in_utc(paths.partition("2024-02")) == {"promised"}
    with pytest.raises(
        DataRejectedError,
        match=r"2024-02: offsets_as_in_other_months; times are with an offset, those of 2024-01 without one",
    ):
        validate_stage.run(Params.model_validate(months))


@pytest.mark.parametrize(
    ("column", "written", "bad"),
    [
        ("weight", lambda t: t["weight"].cast(pl.String).str.replace(".", ",", literal=True), "n.v."),
        ("weight", lambda t: pl.Series([f"  {value} " if value is not None else "" for value in t["weight"].cast(pl.Int64)]), "n.v."),
        ("express", lambda t: pl.Series([f" {word} " for word in ("Yes", "no") * (t.height // 2)]), "perhaps"),
    ],
    ids=["decimal comma", "padded numbers", "padded booleans"],
)  # fmt: skip
def test_one_bad_value_costs_its_own_row_and_no_other(
    months: dict[str, Any], column: str, written: Any, bad: str
) -> None:
    months["data"]["source"] |= {"separator": ";", "decimal": ","}
    months["data"]["columns"] |= {"express": {"kind": "boolean", "required": False, "may_be_constant": True}}
    months["validate"]["drift"] = None
    rows = deliveries(datetime(2024, 2, 1), 29)
    for start, days in ((1, 31), (2, 29), (3, 31)):
        table = deliveries(datetime(2024, start, 1), days).with_columns(express=pl.lit("yes"))
        table = table.with_columns(pl.col("distance", "weight").cast(pl.String).str.replace(".", ",", literal=True))
        if start == 2:
            text = written(rows.with_columns(express=pl.lit("yes"))).alias(column)
            text[7] = bad
            table = table.with_columns(text)
        write_csv(table, f"2024-0{start}.csv", separator=";")
        collect_stage.run(Params.model_validate(months), f"2024-0{start}")
    validate_stage.run(Params.model_validate(months))
    report = json.loads(paths.VALIDATION.read_bytes())
    assert [report[month]["split"] for month in report] == [{}, {f"type:{column}": 1}, {}]
    aside = pl.read_parquet(paths.QUARANTINED / "2024-02.parquet")
    assert aside[row_checks.REASONS].to_list() == [[f"type:{column}"]]
    assert json.loads(aside[tables.UNREADABLE][0])[0][2].strip() == bad
    accepted = pl.read_parquet(paths.accepted("2024-02"))
    assert accepted.height == rows.height - 1
    assert tables.MARKS.isdisjoint(accepted.columns)
    if column == "weight":
        expected = rows["weight"].to_list()
        del expected[7]
        assert (
            accepted.sort("order")["weight"].to_list()
            == rows.filter(pl.int_range(pl.len()) != 7).sort("order")["weight"].to_list()
        )


def test_bad_values_stop_the_month_without_a_budget(months: dict[str, Any]) -> None:
    months["validate"]["budget"] = 0
    text = pl.Series("distance", ["far", *map(str, deliveries(datetime(2024, 2, 1), 29)["distance"][1:].to_list())])
    _collect_months(months, deliveries(datetime(2024, 2, 1), 29).with_columns(text))
    with pytest.raises(
        DataRejectedError, match=r"rows_split_off; 1 of 580 rows; observed \{'type:distance': 1\}"
    ) as caught:
        validate_stage.run(Params.model_validate(months))
    assert len(caught.value.problems) == 2  # the other: a required column has a null


@pytest.mark.parametrize(("value", "is_read"), [("1e38", True), ("1e39", False), ("1.8e308", False), ("inf", False)])
def test_number_beyond_float32_is_a_bad_cell_in_features_and_target(
    workspace: Path, raw: dict[str, Any], value: str, is_read: bool
) -> None:
    raw["target"] = {"column": "outcome", "task": "regression"}
    raw["validate"] = {"rows": [1, 5]}
    rows = rows_of(raw, f"promised,order,weight,outcome\n2024-01-02,a,{value},{value}\n2024-01-03,b,1,2\n")
    assert [row["outcome"] for row in rows] == [float(value) if is_read else None, 2.0]
    assert [row["weight"] for row in rows] == [float(value) if is_read else None, 1.0]
    assert (tables.UNREADABLE in rows[0]) is not is_read


def test_nan_is_missing_in_a_partition_whatever_its_source(workspace: Path, raw: dict[str, Any]) -> None:
    table = deliveries(datetime(2024, 1, 1), 31).with_columns(weight=pl.lit(math.nan))
    table.write_parquet("d.parquet")
    collect(raw, path="d.parquet")
    assert pl.read_parquet(paths.partition("2024-01"))["weight"].null_count() == table.height


@pytest.mark.parametrize(
    ("unit", "values"),
    [("s", [1704196800, 1706788800]), ("ms", [1704196800000, 1706788800000]), ("yyyymmdd", [20240102, 20240201])],
)
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_time_of_a_row_is_an_epoch_or_a_day_by_its_unit(
    workspace: Path, raw: dict[str, Any], unit: str, values: list[int], kind: str
) -> None:
    table = deliveries(datetime(2024, 1, 1), 1)[:2].with_columns(promised=pl.Series(values))
    table.write_csv("d.csv") if kind == "csv" else table.write_parquet("d.parquet")
    if kind == "parquet":
        with pytest.raises(DataRejectedError, match=r"'promised' as Int64.*declare its unit"):
            collect(raw, path="d.parquet")
    raw["data"]["columns"]["promised"]["unit"] = unit
    collect(raw, path=f"d.{kind}")
    read = pl.read_parquet(paths.partition("2024-01"))["promised"].to_list()
    assert read == [NOON if unit != "yyyymmdd" else datetime(2024, 1, 2)]


def test_tables_know_every_kind() -> None:
    assert kinds.KINDS.keys() == one_value.KINDS.keys()
