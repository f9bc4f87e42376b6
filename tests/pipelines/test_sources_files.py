"""Files by path and glob, their dialects; and what stays the same however rows arrive."""

from __future__ import annotations

import gzip
import signal
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from contract.errors import DataRejectedError
from pipelines import paths
from tests.pipelines.collecting import PROJECT, ROWS, collect, rows_of, start_collect, write_csv


def test_partition_is_the_same_when_rows_come_late_twice_or_in_another_order(
    workspace: Path, raw: dict[str, Any]
) -> None:
    write_csv(ROWS, "a.csv")
    expected = collect(raw, path="*.csv")
    Path("a.csv").unlink()
    late = ROWS[100:200]
    write_csv(pl.concat([ROWS[200:], ROWS[:100]]).sample(fraction=1, shuffle=True, seed=3), "a.csv")
    assert collect(raw) != expected
    write_csv(late.reverse(), "b.csv")
    assert collect(raw) == expected
    write_csv(pl.concat([late, ROWS[:300]]).select(ROWS.columns), "c.csv")
    assert collect(raw) == expected


def test_rows_that_differ_under_one_key_all_stay_for_validate_to_refuse(workspace: Path, raw: dict[str, Any]) -> None:
    rows = rows_of(raw, "promised,order,weight\n2024-01-02,a,1\n2024-01-02,a,2\n2024-01-02,a,2.0\n")
    assert [row["weight"] for row in rows] == [1.0, 2.0]


def test_backfill_equals_live_months(workspace: Path, raw: dict[str, Any]) -> None:
    live = {}
    for month, last in (("2024-01", datetime(2024, 2, 1)), ("2024-02", datetime(2024, 3, 1))):
        write_csv(ROWS.filter(pl.col("promised") < last), "deliveries.csv")
        live[month] = collect(raw, month)
    assert {month: collect(raw, month) for month in live} == live


def test_months_are_utc_when_times_carry_an_offset(workspace: Path, raw: dict[str, Any]) -> None:
    text = "promised,order\n2024-01-31T23:30:00-05:00,a\n2024-02-01T00:30:00+01:00,b\n2024-01-31T12:00:00Z,c\n"
    assert [(row["order"], row["promised"]) for row in rows_of(raw, text)] == [
        ("b", datetime(2024, 1, 31, 23, 30)),
        ("c", datetime(2024, 1, 31, 12)),
    ]
    assert [row["order"] for row in rows_of(raw, text, "2024-02")] == ["a"]


def test_whole_table_keeps_order_and_equal_rows_when_it_has_no_key(workspace: Path, raw: dict[str, Any]) -> None:
    Path("deliveries.csv").write_text("depot,distance\nsouth,2\nnorth,1\nnorth,1\n")
    raw["data"] |= {"months": ["all"], "key": [], "time": None, "columns": {
        "depot": {"kind": "category"}, "distance": {"kind": "number"}}}  # fmt: skip
    raw |= {"split": {"kind": "stratified"}, "features": {"distance": {"transform": "value"}}, "evaluate": {}}
    collect(raw, "all")
    assert pl.read_parquet(paths.partition("all"))["depot"].to_list() == ["south", "north", "north"]


@pytest.mark.parametrize(
    ("content", "source"),
    [
        (b"promised;order;depot;weight\r\n2024-01-02;a;M\xfcnchen;1,5\r\n2024-01-03;b;?; \r\n",
         {"separator": ";", "decimal": ",", "encoding": "latin-1", "missing": ["?"]}),
        ("promised\torder\tdepot\tweight\n2024-01-02\ta\t'München'\t1.5\n2024-01-03\tb\tNA\t-1\n".encode(),
         {"separator": "\t", "quote": "'", "missing": ["NA", "-1"]}),
        ("\ufeffpromised,order,depot,weight\r\n2024-01-02,a,\"München\",1.5\r\n2024-01-03,b,,\r\n".encode("utf-16"),
         {"encoding": "utf-16"}),
    ],
    ids=["semicolon", "tab", "utf-16"],
)  # fmt: skip
@pytest.mark.parametrize("packed", [False, True])
def test_dialects_give_the_samerows_of(
    workspace: Path, raw: dict[str, Any], content: bytes, source: dict[str, Any], packed: bool
) -> None:
    name = "d.csv.gz" if packed else "d.csv"
    Path(name).write_bytes(gzip.compress(content) if packed else content)
    collect(raw, path=name, **source)
    rows = pl.read_parquet(paths.partition("2024-01")).to_dicts()
    assert [(row["depot"], row["weight"]) for row in rows] == [("München", 1.5), (None, None)]


def test_decimal_comma_refuses_a_point_instead_of_guessing(workspace: Path, raw: dict[str, Any]) -> None:
    text = 'promised,order,weight\n2024-01-02,a,"1,5"\n2024-01-02,b,1.234\n'
    assert [row["weight"] for row in rows_of(raw, text, decimal=",")] == ["1,5", "1.234"]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_sentinel_of_one_column_is_a_value_of_another(workspace: Path, raw: dict[str, Any], kind: str) -> None:
    raw["data"]["columns"]["weight"]["missing_values"] = [-1]
    table = pl.DataFrame({"promised": [datetime(2024, 1, 2)], "order": ["a"], "weight": [-1.0], "distance": [-1.0]})
    write_csv(table, "d.csv") if kind == "csv" else table.write_parquet("d.parquet")
    collect(raw, path=f"d.{kind}")
    (row,) = pl.read_parquet(paths.partition("2024-01")).to_dicts()
    assert (row["weight"], row["distance"]) == (None, -1.0)


def test_time_is_made_of_a_date_and_an_hour(workspace: Path, raw: dict[str, Any]) -> None:
    combine = {"promised": {"columns": ["day", "hr"], "format": "%d/%m/%Y %H"}}
    rows = rows_of(raw, "day,hr,order\n31/01/2024,7,a\n01/02/2024,0,b\n", combine=combine, drop=["day", "hr"])
    assert rows == [{"promised": datetime(2024, 1, 31, 7), "order": "a"}]


def test_only_files_of_the_month_are_read_when_the_path_names_it(workspace: Path, raw: dict[str, Any]) -> None:
    Path("2024").mkdir()
    write_csv(ROWS, "2024/01.csv")
    Path("2024/02.csv").write_text("not,this,one\n")
    collect(raw, path="{month:%Y/%m}.csv")
    assert pl.read_parquet(paths.partition("2024-01")).height == 620


@pytest.mark.parametrize(
    ("text", "source", "words"),
    [
        ("promised,order\n2024-01-02,a\n", {"drop": ["gone"]}, "no column 'gone'"),
        ("promised\n2024-01-02\n", {}, "no column 'order', which data.key names"),
        ("order\na\n", {}, "no column 'promised', which data.time names"),
        ("promised,order\n01/02/2024,a\n", {}, "no readable time in column 'promised'"),
        ("promised,order\n2024-01-02,a,b,c\n", {}, "separator, quote and encoding"),
    ],
)
def test_bad_table_is_refused_by_name(
    workspace: Path, raw: dict[str, Any], text: str, source: dict[str, Any], words: str
) -> None:
    with pytest.raises(DataRejectedError, match=words):
        rows_of(raw, text, **source)


def test_collect_gives_the_same_bytes_when_it_was_killed_before(workspace: Path, raw: dict[str, Any]) -> None:
    write_csv(ROWS, "deliveries.csv")
    expected = collect(raw)
    # The content is on the disk; it has its name; the name is on the disk.
    for steps, is_there in ((1, False), (2, True), (3, True)):
        paths.partition("2024-01").unlink(missing_ok=True)
        assert start_collect(raw, dies_after=steps).wait(60) == -signal.SIGKILL
        assert paths.partition("2024-01").exists() is is_there
        assert not is_there or paths.partition("2024-01").read_bytes() == expected
    paths.partition("2024-01").unlink()
    assert start_collect(raw).wait(60) == 0
    assert paths.partition("2024-01").read_bytes() == expected


def test_collect_reads_no_clock(workspace: Path, raw: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    write_csv(ROWS, "deliveries.csv")
    expected = collect(raw)
    year_off = time.time() + 365 * 86_400
    monkeypatch.setattr(time, "time", lambda: year_off)
    assert collect(raw) == expected
    source = "".join(path.read_text() for path in (PROJECT / "pipelines/collect").glob("*.py"))
    assert not any(clock in source for clock in (".now(", ".today(", "utcnow", "time.time"))
