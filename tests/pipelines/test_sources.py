"""Sources: files by path, glob and URL, dialects, and databases; and what stays the same however rows arrive."""

from __future__ import annotations

import gzip
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import sqlalchemy
import yaml

from contract.errors import ConfigurationError, DataRejectedError, UnavailableError
from pipelines import paths
from pipelines.collect import secrets, stage
from pipelines.params import Params
from tests.pipelines.conftest import deliveries

PROJECT = Path(__file__).parents[2]
ROWS = deliveries(datetime(2024, 1, 1), 60)


def _csv(table: pl.DataFrame, path: str, **options: Any) -> None:
    table.write_csv(path, datetime_format="%Y-%m-%dT%H:%M:%S", **options)


def _collect(raw: dict[str, Any], month: str = "2024-01", **source: Any) -> bytes:
    raw["data"]["source"] |= source
    stage.run(Params.model_validate(raw), month)
    return paths.partition(month).read_bytes()


def _rows(raw: dict[str, Any], text: str, month: str = "2024-01", **source: Any) -> list[dict[str, Any]]:
    Path("deliveries.csv").write_text(text)
    _collect(raw, month, **source)
    return pl.read_parquet(paths.partition(month)).to_dicts()


def test_partition_is_the_same_when_rows_come_late_twice_or_in_another_order(
    workspace: Path, raw: dict[str, Any]
) -> None:
    _csv(ROWS, "a.csv")
    expected = _collect(raw, path="*.csv")
    Path("a.csv").unlink()
    late = ROWS[100:200]
    _csv(pl.concat([ROWS[200:], ROWS[:100]]).sample(fraction=1, shuffle=True, seed=3), "a.csv")
    assert _collect(raw) != expected
    _csv(late.reverse(), "b.csv")
    assert _collect(raw) == expected
    _csv(pl.concat([late, ROWS[:300]]).select(ROWS.columns), "c.csv")
    assert _collect(raw) == expected


def test_rows_that_differ_under_one_key_all_stay_for_validate_to_refuse(workspace: Path, raw: dict[str, Any]) -> None:
    rows = _rows(raw, "promised,order,weight\n2024-01-02,a,1\n2024-01-02,a,2\n2024-01-02,a,2.0\n")
    assert [row["weight"] for row in rows] == [1.0, 2.0]


def test_backfill_equals_live_months(workspace: Path, raw: dict[str, Any]) -> None:
    live = {}
    for month, last in (("2024-01", datetime(2024, 2, 1)), ("2024-02", datetime(2024, 3, 1))):
        _csv(ROWS.filter(pl.col("promised") < last), "deliveries.csv")
        live[month] = _collect(raw, month)
    assert {month: _collect(raw, month) for month in live} == live


def test_months_are_utc_when_times_carry_an_offset(workspace: Path, raw: dict[str, Any]) -> None:
    text = "promised,order\n2024-01-31T23:30:00-05:00,a\n2024-02-01T00:30:00+01:00,b\n2024-01-31T12:00:00Z,c\n"
    assert [(row["order"], row["promised"]) for row in _rows(raw, text)] == [
        ("b", datetime(2024, 1, 31, 23, 30)),
        ("c", datetime(2024, 1, 31, 12)),
    ]
    assert [row["order"] for row in _rows(raw, text, "2024-02")] == ["a"]


def test_whole_table_keeps_order_and_equal_rows_when_it_has_no_key(workspace: Path, raw: dict[str, Any]) -> None:
    Path("deliveries.csv").write_text("depot,distance\nsouth,2\nnorth,1\nnorth,1\n")
    raw["data"] |= {"months": ["all"], "key": [], "time": None, "columns": {
        "depot": {"kind": "category"}, "distance": {"kind": "number"}}}  # fmt: skip
    raw |= {"split": {"kind": "stratified"}, "features": {"distance": {"transform": "value"}}, "evaluate": {}}
    _collect(raw, "all")
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
def test_dialects_give_the_same_rows(
    workspace: Path, raw: dict[str, Any], content: bytes, source: dict[str, Any], packed: bool
) -> None:
    name = "d.csv.gz" if packed else "d.csv"
    Path(name).write_bytes(gzip.compress(content) if packed else content)
    _collect(raw, path=name, **source)
    rows = pl.read_parquet(paths.partition("2024-01")).to_dicts()
    assert [(row["depot"], row["weight"]) for row in rows] == [("München", 1.5), (None, None)]


def test_decimal_comma_refuses_a_point_instead_of_guessing(workspace: Path, raw: dict[str, Any]) -> None:
    text = 'promised,order,weight\n2024-01-02,a,"1,5"\n2024-01-02,b,1.234\n'
    assert [row["weight"] for row in _rows(raw, text, decimal=",")] == ["1,5", "1.234"]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_sentinel_of_one_column_is_a_value_of_another(workspace: Path, raw: dict[str, Any], kind: str) -> None:
    raw["data"]["columns"]["weight"]["missing_values"] = [-1]
    table = pl.DataFrame({"promised": [datetime(2024, 1, 2)], "order": ["a"], "weight": [-1.0], "distance": [-1.0]})
    _csv(table, "d.csv") if kind == "csv" else table.write_parquet("d.parquet")
    _collect(raw, path=f"d.{kind}")
    (row,) = pl.read_parquet(paths.partition("2024-01")).to_dicts()
    assert (row["weight"], row["distance"]) == (None, -1.0)


def test_time_is_made_of_a_date_and_an_hour(workspace: Path, raw: dict[str, Any]) -> None:
    combine = {"promised": {"columns": ["day", "hr"], "format": "%d/%m/%Y %H"}}
    rows = _rows(raw, "day,hr,order\n31/01/2024,7,a\n01/02/2024,0,b\n", combine=combine, drop=["day", "hr"])
    assert rows == [{"promised": datetime(2024, 1, 31, 7), "order": "a"}]


def test_only_files_of_the_month_are_read_when_the_path_names_it(workspace: Path, raw: dict[str, Any]) -> None:
    Path("2024").mkdir()
    _csv(ROWS, "2024/01.csv")
    Path("2024/02.csv").write_text("not,this,one\n")
    _collect(raw, path="{month:%Y/%m}.csv")
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
        _rows(raw, text, **source)


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: Any) -> None:
        pass

    def do_GET(self) -> None:
        if self.path.startswith("/refused"):
            self.send_error(403)
        else:
            super().do_GET()


@pytest.fixture
def site(workspace: Path) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(workspace))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("kind", ["http", "file", "memory"])
def test_url_gives_the_bytes_that_the_path_gives(site: str, workspace: Path, raw: dict[str, Any], kind: str) -> None:
    import fsspec

    _csv(ROWS, "deliveries.csv")
    expected = _collect(raw)
    fsspec.filesystem("memory").pipe("/delivered/deliveries.csv", Path("deliveries.csv").read_bytes())
    url = {
        "http": f"{site}/deliveries.csv?version=2",
        "file": f"file://{workspace}/deliv*.csv",
        "memory": "memory://delivered/*.csv",
    }[kind]
    assert _collect(raw, path=url) == expected


def test_url_that_fails_can_be_retried_and_shows_no_secret(
    site: str, workspace: Path, raw: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DELIVERY_TOKEN", "s3cr3t/ä")
    for place in ("gone", "refused"):
        with pytest.raises(UnavailableError) as caught:
            _collect(raw, path=f"{site}/{place}.csv?token=${{DELIVERY_TOKEN}}")
        assert "${DELIVERY_TOKEN}" in str(caught.value)
        assert "s3cr3t" not in str(caught.value)
        assert caught.value.__cause__ is None


def test_url_names_what_to_set_or_install_when_it_cannot_be_opened(workspace: Path, raw: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="set NOWHERE_SET"):
        _collect(raw, path="https://localhost/${NOWHERE_SET}.csv")
    with pytest.raises(ConfigurationError, match="nosuch"):
        _collect(raw, path="nosuch://somewhere/a.csv")


@pytest.mark.parametrize(
    "source",
    [
        {"kind": "sql", "url": "postgresql+psycopg://me:hunter2@localhost/x", "table": "t", "cursor": "promised"},
        {"kind": "files", "path": "https://localhost/a.csv?sig=hunter2"},
    ],
)
def test_credential_in_params_is_refused_without_being_shown(raw: dict[str, Any], source: dict[str, Any]) -> None:
    raw["data"]["source"] = source | {"version": "1"}
    with pytest.raises(ValueError, match="holds a credential; write") as caught:
        Params.model_validate(raw)
    assert "hunter2" not in str(caught.value.errors()[0]["msg"])  # type: ignore[attr-defined]


def test_secret_is_quoted_in_the_userinfo_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORD", "a@b/c")
    assert secrets.expand("url", "x://me:${WORD}@host/${WORD}") == "x://me:a%40b%2Fc@host/a@b/c"
    assert secrets.redact("bad a%40b%2Fc or a@b/c", "${WORD}") == "bad ${WORD} or ${WORD}"


def _into_database(url: str, rows: pl.DataFrame) -> None:
    engine = sqlalchemy.create_engine(url)
    kinds = {"promised": sqlalchemy.DateTime, "distance": sqlalchemy.Float, "weight": sqlalchemy.Numeric(10, 2)}
    table = sqlalchemy.Table(
        "deliveries",
        sqlalchemy.MetaData(),
        *(sqlalchemy.Column(name, kinds.get(name, sqlalchemy.String)) for name in rows.columns),
    )
    with engine.begin() as connection:
        table.create(connection, checkfirst=True)
        connection.execute(table.insert(), rows.to_dicts())
    engine.dispose()


@pytest.fixture(scope="module")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    from tests.pipelines.postgres import running

    with running(tmp_path_factory) as url:
        yield url


@pytest.mark.filterwarnings("ignore:Dialect sqlite.*Decimal")
@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_database_gives_the_bytes_that_files_give(
    workspace: Path, raw: dict[str, Any], database: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "sqlite:///orders.sqlite" if database == "sqlite" else request.getfixturevalue("postgres")
    _csv(ROWS, "deliveries.csv")
    expected = [_collect(raw, month) for month in ("2024-01", "2024-02")]
    _into_database(url, pl.concat([ROWS[300:], ROWS[:250]]))
    with_password, password = url, sqlalchemy.make_url(url).password
    if password:
        monkeypatch.setenv("ORDERS_PASSWORD", password)
        url = re.sub(r":[^:/]*@", ":${ORDERS_PASSWORD}@", url)
    raw["data"]["source"] = {"kind": "sql", "version": "1", "url": url, "table": "deliveries", "cursor": "promised"}
    assert _collect(raw) != expected[0]
    _into_database(with_password, ROWS[250:310])  # ten of them for the second time
    assert [_collect(raw, month) for month in ("2024-01", "2024-02")] == expected
    del raw["data"]["source"]["table"]
    assert _collect(raw, query="SELECT * FROM deliveries;") == expected[0]
    with pytest.raises(ConfigurationError, match="nowhere"):
        _collect(raw, query="SELECT * FROM nowhere")
    if password:
        monkeypatch.setenv("ORDERS_PASSWORD", "wrong-s3cr3t")
        with pytest.raises(ConfigurationError, match="password authentication failed") as caught:
            _collect(raw, query="SELECT * FROM deliveries")
        assert "s3cr3t" not in str(caught.value)


def test_sqlite_keeps_the_first_moment_of_a_month_in_it(workspace: Path, raw: dict[str, Any]) -> None:
    import sqlite3

    with sqlite3.connect("t.sqlite") as connection:
        connection.execute('CREATE TABLE t (promised TEXT, "order" TEXT)')
        times = ["2024-01-31 23:59:59", "2024-02-01 00:00:00", "2024-02-01T00:00:00", "2024-02-01"]
        connection.executemany("INSERT INTO t VALUES (?, ?)", [(at, f"{i}") for i, at in enumerate(times)])
    connection.close()
    raw["data"]["source"] = {
        "kind": "sql", "version": "1", "url": "sqlite:///t.sqlite", "table": "t", "cursor": "promised"}  # fmt: skip
    _collect(raw, "2024-02")
    assert pl.read_parquet(paths.partition("2024-02"))["order"].to_list() == ["1", "2", "3"]


def test_database_that_is_not_there_can_be_retried(workspace: Path, raw: dict[str, Any]) -> None:
    url = "postgresql+psycopg://nobody@127.0.0.1:1/none"
    raw["data"]["source"] = {"kind": "sql", "version": "1", "url": url, "table": "t", "cursor": "promised"}
    with pytest.raises(UnavailableError, match="does not answer"):
        _collect(raw)


def _start(workspace: Path, *prefix: str) -> subprocess.Popen[bytes]:
    command = [*prefix, sys.executable, "-m", "pipelines", "collect", "2024-01"]
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    return subprocess.Popen(command, cwd=workspace, env=environment, stderr=subprocess.DEVNULL)


def test_collect_gives_the_same_bytes_when_it_was_killed_before(workspace: Path, raw: dict[str, Any]) -> None:
    _csv(ROWS, "deliveries.csv")
    expected = _collect(raw)
    paths.partition("2024-01").unlink()
    Path("params.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    for delay_s in (0.3, 0.6, 0.9):
        process = _start(workspace)
        try:
            process.wait(delay_s)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert not paths.partition("2024-01").exists() or paths.partition("2024-01").read_bytes() == expected
    assert _start(workspace).wait(30) == 0
    assert paths.partition("2024-01").read_bytes() == expected


def test_collect_reads_no_clock(workspace: Path, raw: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    _csv(ROWS, "deliveries.csv")
    expected = _collect(raw)
    year_off = time.time() + 365 * 86_400
    monkeypatch.setattr(time, "time", lambda: year_off)
    assert _collect(raw) == expected
    source = "".join(path.read_text() for path in (PROJECT / "pipelines/collect").glob("*.py"))
    assert not any(clock in source for clock in (".now(", ".today(", "utcnow", "time.time"))
