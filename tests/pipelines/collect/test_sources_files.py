"""Files by path and glob, their dialects; and what stays the same however rows arrive."""

from __future__ import annotations

import gzip
import signal
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from contract.errors import DataRejectedError, UnavailableError
from harness import PROJECT
from pipelines import paths
from pipelines.data import tables
from pipelines.machine import settings
from pipelines.params.params import Params
from pipelines.stages.collect import stage
from tests.pipelines.collect.collecting import ROWS, collect, declare, rows_of, start_collect, write_csv


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
    Path("deliveries.csv").write_text("depot,distance,outcome\nsouth,2,\nnorth,1,\nnorth,1,\n")
    raw["data"] |= {"months": ["all"], "key": [], "time": None, "columns": {
        "depot": {"kind": "category"}, "distance": {"kind": "number"}}}  # fmt: skip
    raw |= {"split": {"kind": "stratified"}, "features": {"distance": {"transform": "value"}}, "evaluate": {}}
    collect(raw, "all")
    assert pl.read_parquet(paths.partition("all"))["depot"].to_list() == ["south", "north", "north"]


@pytest.mark.parametrize(
    ("content", "source"),
    [
        (b"promised;order;depot;weight;outcome\r\n2024-01-02;a;M\xfcnchen;1,5;\r\n2024-01-03;b;?; ;\r\n",
         {"separator": ";", "decimal": ",", "encoding": "latin-1", "missing": ["?"]}),
        ("promised\torder\tdepot\tweight\toutcome\n2024-01-02\ta\t'München'\t1.5\t\n2024-01-03\tb\tNA\t-1\t\n".encode(),
         {"separator": "\t", "quote": "'", "missing": ["NA", "-1"]}),
        *((f"promised|order|depot|weight|outcome\n2024-01-02|a|{quoted}|1.5|\n2024-01-03|b||NA|\n".replace("|", border).encode(),
           {"separator": border, "missing": ["NA"]})
          for border, quoted in (("\x01", "München"), ("\x1f", '"München"'), ("\x0b", "München"))),
        ("\ufeffpromised,order,depot,weight,outcome\r\n2024-01-02,a,\"München\",1.5,\r\n2024-01-03,b,,,\r\n".encode("utf-16"),
         {"encoding": "utf-16"}),
    ],
    ids=["semicolon", "tab", "hive", "unit separator", "vertical tab", "utf-16"],
)  # fmt: skip
@pytest.mark.parametrize("packed", [False, True])
def test_dialects_give_the_samerows_of(
    workspace: Path, raw: dict[str, Any], content: bytes, source: dict[str, Any], packed: bool
) -> None:
    name = "d.csv.gz" if packed else "d.csv"
    Path(name).write_bytes(gzip.compress(content) if packed else content)
    declare(raw, "promised", "order", "depot", "weight")
    collect(raw, path=name, **source)
    rows = pl.read_parquet(paths.partition("2024-01")).to_dicts()
    assert [(row["depot"], row["weight"]) for row in rows] == [("München", 1.5), (None, None)]


def test_decimal_comma_refuses_a_point_instead_of_guessing(workspace: Path, raw: dict[str, Any]) -> None:
    text = 'promised,order,weight\n2024-01-02,a,"1,5"\n2024-01-02,b,1.234\n'
    first, second = rows_of(raw, text, decimal=",")
    assert (first["weight"], second["weight"]) == (1.5, None)
    assert second[tables.UNREADABLE] == '[["weight", "must be a number with the decimal sign ,", "1.234"]]'


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_sentinel_of_one_column_is_a_value_of_another(workspace: Path, raw: dict[str, Any], kind: str) -> None:
    raw["data"]["columns"]["weight"]["missing_values"] = [-1]
    declare(raw, "promised", "order", "weight", "distance")
    table = pl.DataFrame(
        {"promised": [datetime(2024, 1, 2)], "order": "a", "weight": -1.0, "distance": -1.0, "outcome": "kept"}
    )
    write_csv(table, "d.csv") if kind == "csv" else table.write_parquet("d.parquet")
    collect(raw, path=f"d.{kind}")
    (row,) = pl.read_parquet(paths.partition("2024-01")).to_dicts()
    assert (row["weight"], row["distance"]) == (None, -1.0)


def test_relative_path_begins_in_the_project_when_a_task_works_in_a_clone(
    workspace: Path, raw: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_csv(ROWS, "deliveries.csv")
    expected = collect(raw)
    Path("clone").mkdir()
    monkeypatch.chdir("clone")
    with pytest.raises(UnavailableError, match=r"no file matches '.*/clone/deliveries\.csv'"):
        collect(raw)
    monkeypatch.setenv("BULKHEAD_SOURCE_ROOT", str(workspace))
    assert collect(raw) == expected


def test_relative_paths_begin_in_the_project_when_dvc_runs_an_experiment_in_a_copy(
    workspace: Path, raw: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_csv(ROWS, "deliveries.csv")
    expected = collect(raw)
    copy = workspace / ".dvc" / "tmp" / "exps" / "tmp1234"
    copy.mkdir(parents=True)
    monkeypatch.chdir(copy)
    assert collect(raw) == expected
    assert settings.var_directory() == workspace / "var"


def test_no_value_is_read_by_the_type_of_those_before_it(workspace: Path, raw: dict[str, Any]) -> None:
    many = 30_000  # more than readers look at to guess a type
    declare(raw, "promised", "order", "weight")
    lines = ["promised,order,weight,outcome", *(f"2024-01-02,{n},3,kept" for n in range(many)), "2024-01-02,x,2.5,kept"]
    Path("deliveries.csv").write_text("\n".join(lines))
    collect(raw)
    table = pl.read_parquet(paths.partition("2024-01"))
    assert (table.height, table["weight"].sum()) == (many + 1, 3 * many + 2.5)


def test_time_is_made_of_a_date_and_an_hour(workspace: Path, raw: dict[str, Any]) -> None:
    combine = {"promised": {"columns": ["day", "hr"], "format": "%d/%m/%Y %H"}}
    rows = rows_of(raw, "day,hr,order\n31/01/2024,7,a\n01/02/2024,0,b\n", combine=combine, drop=["day", "hr"])
    assert rows == [{"promised": datetime(2024, 1, 31, 7), "order": "a"}]


@pytest.mark.parametrize(
    ("clocks", "clock"), [([time(7, 30), time(0)], "%H:%M:%S"), ([time(7, 30, 0, 500_000), time(0)], "%H:%M:%S%.f")]
)
def test_time_is_made_of_columns_of_days_and_of_times_of_day(
    workspace: Path, raw: dict[str, Any], clocks: list[time], clock: str
) -> None:
    declare(raw, "promised", "order")
    days = [date(2024, 1, 31), date(2024, 2, 1)]
    pl.DataFrame({"day": days, "clock": clocks, "order": ["a", "b"], "outcome": "kept"}).write_parquet("a.parquet")
    combine = {"promised": {"columns": ["day", "clock"], "format": f"%Y-%m-%d {clock}"}}
    collect(raw, path="a.parquet", combine=combine, drop=["day", "clock"])
    read = pl.read_parquet(paths.partition("2024-01"))
    assert read["promised"].to_list() == [datetime.combine(days[0], clocks[0])]


def test_only_files_of_the_month_are_read_when_the_path_names_it(workspace: Path, raw: dict[str, Any]) -> None:
    Path("2024").mkdir()
    write_csv(ROWS, "2024/01.csv")
    Path("2024/02.csv").write_text("not,this,one\n")
    collect(raw, path="{month:%Y/%m}.csv")
    assert pl.read_parquet(paths.partition("2024-01")).height == 620


@pytest.mark.parametrize(
    ("path", "name", "left_out"),
    [
        ("{month}.csv", "2024-02.csv", 4),
        ("{month:%Y}.csv", "2024.csv", 2),
        ("{month:%m}.csv", "02.csv", 3),
        ("*.csv", "all.csv", 0),
    ],
)
def test_rows_of_other_months_are_counted_when_those_months_read_other_files(
    workspace: Path, raw: dict[str, Any], path: str, name: str, left_out: int
) -> None:
    times = (
        "2024-01-01T00:30+01:00",
        "2024-02-01T00:30+01:00",
        "2024-02-01T01:30+01:00",
        "2024-03-01T12:00Z",
        "2025-02-01T12:00Z",
    )
    rows = [f"{at},{order},kept" for order, at in enumerate(times)]
    Path(name).write_text("\n".join(["promised,order,outcome", *rows]))
    declare(raw, "promised", "order")
    raw["data"]["source"]["path"] = path
    said = stage.run(Params.model_validate(raw), "2024-02").removeprefix(
        "2024-02: 1 rows, 0 of them without an outcome"
    )
    words = f"; {left_out} rows of other months left out: by data.source.path those months read other files"
    assert said == (words if left_out else "")


HEADER = "promised,order,depot,distance,weight,outcome"


@pytest.mark.parametrize(
    ("header", "source", "words"),
    [
        (HEADER, {"drop": ["gone"]}, "no column 'gone', which data.source.drop names"),
        (
            HEADER,
            {"rename": {"ordre": "x"}},
            r"no column 'ordre', which data.source.rename names \(did you mean 'order'\?\)",
        ),
        (HEADER.replace("order", "id"), {}, "no column 'order', which data.key names"),
        (HEADER.replace("promised", "at"), {}, "no column 'promised', which data.time names"),
        (
            HEADER.replace("depot", "depto"),
            {},
            r"no column 'depot', which data.columns names \(did you mean 'depto'\?\)",
        ),
        (
            HEADER.replace("weight", "Weight"),
            {},
            r"no column 'weight', .*did you mean 'Weight'\?.* The source has 'Weight', 'depot'",
        ),
        (HEADER.replace("outcome", "result"), {}, "no column 'outcome', which target.column names"),
        (
            HEADER.replace("outcome", "outcome,Order"),
            {},
            "'order' and 'Order' of the source differ by case alone",
        ),
        ("2024-01-01,x,secret,1,2,kept", {}, "its first line looks like a row of values; it must be a header"),
    ],
)
def test_column_that_is_not_there_is_named_with_what_was_meant(
    workspace: Path, raw: dict[str, Any], header: str, source: dict[str, Any], words: str
) -> None:
    row = ",".join(["2024-01-02", *"a" * header.count(",")])
    Path("deliveries.csv").write_text(f"{header}\n{row}\n")
    with pytest.raises(DataRejectedError, match=words) as caught:
        collect(raw, **source)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("promised,order\n01/02/2024,a\n", "no readable time in column 'promised'.* data.source.combine"),
        ("promised,order\n2024-01-02,a,b,c\n", "check separator, quote and encoding"),
        ('promised,order\n2024-01-02,"secret\n', "a quote in the record that begins in line 2 is not closed"),
        ('promised,order\n2024-01-02,5" secret\n2024-01-02,b\n', "quotes that do not enclose a whole field"),
    ],
)
def test_bad_table_is_refused_without_a_piece_of_a_row(
    workspace: Path, raw: dict[str, Any], text: str, words: str
) -> None:
    with pytest.raises(DataRejectedError, match=words) as caught:
        rows_of(raw, text)
    assert "secret" not in str(caught.value)


_DELIVERIES = b"promised,order,outcome\n" + b"".join(b"2024-01-02,%d,kept\n" % number for number in range(200_000))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.csv", b"", "^a.csv is empty; deliver it again"),
        ("a.csv", b"\xef\xbb\xbf\n\n", "^a.csv is empty"),
        ("a.csv.gz", b"promised,order,outcome\n", "^a.csv.gz is not a complete gzip file"),
        ("a.csv.gz", gzip.compress(_DELIVERIES[:1000])[:-20], "^a.csv.gz is not a complete gzip file"),
        ("a.csv.gz", gzip.compress(_DELIVERIES)[:-20], "^a.csv.gz is not a complete gzip file"),
        ("a.csv.gz", gzip.compress(_DELIVERIES)[:-8] + bytes(8), "^a.csv.gz is not a complete gzip file"),
        ("a.csv", b"promised,order,order,outcome\n2024-01-02,a,b,kept\n", "^a.csv: two columns .* \\('order'\\)"),
        ("a.csv", b"secret,2024-01-02,2024-01-02\nsecret,2024-01-02,2024-01-02\n", "looks like a row of values"),
    ],
)
def test_damaged_file_is_named(workspace: Path, raw: dict[str, Any], name: str, content: bytes, words: str) -> None:
    Path(name).write_bytes(content)
    with pytest.raises(DataRejectedError, match=words) as caught:
        collect(raw, path=name)
    assert "secret" not in str(caught.value)


def test_directory_is_refused_with_a_glob_of_its_files(workspace: Path, raw: dict[str, Any]) -> None:
    Path("2024").mkdir()
    with pytest.raises(DataRejectedError, match=r"2024 is a directory; name the files in it, such as .*2024/\*\.csv"):
        collect(raw, path="2024")


def test_timestamp_of_which_no_value_is_iso_names_its_format(workspace: Path, raw: dict[str, Any]) -> None:
    raw["data"]["columns"]["arrived"] = {"kind": "timestamp"}
    with pytest.raises(
        DataRejectedError, match=r"none of the 1 values of column 'arrived' is a readable time.*combine"
    ):
        rows_of(raw, "promised,order,arrived\n2024-01-02,a,02/01/2024 10:30\n")


def test_ragged_line_is_marked_with_its_number_and_blank_lines_are_no_rows(
    workspace: Path, raw: dict[str, Any]
) -> None:
    declare(raw, "promised", "order", "weight")
    text = 'promised,order,weight,outcome\n2024-01-02,a,10.0,kept\n\n2024-01-02,"b\n",1\n2024-01-02,c,1,kept,kept\n\n'
    Path("deliveries.csv").write_text(text)
    collect(raw)
    rows = pl.read_parquet(paths.partition("2024-01")).sort("order").to_dicts()
    assert [row["__ragged__"] for row in rows] == [None, "deliveries.csv:4", "deliveries.csv:6"]
    Path("deliveries.csv").write_text(text.replace("\n", "\r").replace("b\r", "b"))
    collect(raw)
    rows = pl.read_parquet(paths.partition("2024-01")).sort("order").to_dicts()
    assert [row["__ragged__"] for row in rows] == [None, "deliveries.csv:4", "deliveries.csv:5"]


def test_ragged_line_without_a_time_is_of_the_month_of_the_line_before_it(workspace: Path, raw: dict[str, Any]) -> None:
    lines = [
        HEADER,
        "x,y",
        "2024-01-02,a,b,1,2,kept",
        "x",
        "2024-02-02,b,b,1,2,kept",
        "x,,,,,,,",
        "2024-02-03,c,b,1,2,kept",
    ]
    Path("deliveries.csv").write_text("\n".join(lines))
    places = {}
    for month in ("2024-01", "2024-02"):
        collect(raw, month)
        places[month] = pl.read_parquet(paths.partition(month))["__ragged__"].drop_nulls().sort().to_list()
    assert places == {"2024-01": ["deliveries.csv:2", "deliveries.csv:4"], "2024-02": ["deliveries.csv:6"]}


def test_files_of_several_layouts_are_refused_and_those_of_another_order_are_not(
    workspace: Path, raw: dict[str, Any]
) -> None:
    write_csv(ROWS[:100], "a.csv")
    write_csv(ROWS[100:].select(reversed(ROWS.columns)), "b.csv")
    mixed = collect(raw, path="*.csv")
    Path("b.csv").unlink()
    write_csv(ROWS, "a.csv")
    assert collect(raw, path="*.csv") == mixed
    write_csv(ROWS.rename({"weight": "mass"}), "b.csv")
    with pytest.raises(DataRejectedError, match=r"b\.csv and a\.csv have different columns: .* 'mass', 'weight'"):
        collect(raw, path="*.csv")


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
    source = "".join(path.read_text() for path in (PROJECT / "pipelines/stages/collect").glob("*.py"))
    assert not any(clock in source for clock in (".now(", ".today(", "utcnow", "time.time"))
