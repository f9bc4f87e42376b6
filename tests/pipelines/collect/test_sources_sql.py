"""Databases: SQLite, and a PostgreSQL server of the tests' own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import sqlalchemy

from contract.errors import ConfigurationError, DataRejectedError, UnavailableError
from pipelines import paths
from tests.pipelines.collect.collecting import ROWS, collect, declare, write_csv


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
    from tests.pipelines.collect.postgres import running

    with running(tmp_path_factory) as url:
        yield url


def _without_password(url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL as params may have it, its password in the environment."""
    if password := sqlalchemy.make_url(url).password:
        monkeypatch.setenv("ORDERS_PASSWORD", password)
    return re.sub(r":[^:/]*@", ":${ORDERS_PASSWORD}@", url)


@pytest.mark.filterwarnings("ignore:Dialect sqlite.*Decimal")
@pytest.mark.parametrize("database", ["sqlite", "postgres"])
def test_database_gives_the_bytes_that_files_give(
    workspace: Path, raw: dict[str, Any], database: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = "sqlite:///orders.sqlite" if database == "sqlite" else request.getfixturevalue("postgres")
    write_csv(ROWS, "deliveries.csv")
    expected = [collect(raw, month) for month in ("2024-01", "2024-02")]
    _into_database(url, pl.concat([ROWS[300:], ROWS[:250]]))
    with_password, url = url, _without_password(url, monkeypatch)
    raw["data"]["source"] = {"kind": "sql", "version": "1", "url": url, "table": "deliveries", "cursor": "promised"}
    assert collect(raw) != expected[0]
    _into_database(with_password, ROWS[250:310])  # ten of them for the second time
    assert [collect(raw, month) for month in ("2024-01", "2024-02")] == expected
    del raw["data"]["source"]["table"]
    assert collect(raw, query="SELECT * FROM deliveries;") == expected[0]
    with pytest.raises(ConfigurationError, match="nowhere"):
        collect(raw, query="SELECT * FROM nowhere")
    if database == "postgres":
        cast = "SELECT *, promised::date AS day, '{1}'::int[] AS parts FROM deliveries -- a cast"
        assert collect(raw, query=cast, drop=["day", "parts"]) == expected[0]
        with pytest.raises(DataRejectedError, match="column 'parts' holds values of type list"):
            collect(raw, query=cast, drop=["day"])
        wide = 'SELECT *, outcome AS y, 98765432109876543210::numeric + (length("order") - 9) AS part FROM deliveries'
        raw["data"]["columns"]["part"] = {"kind": "identifier"}
        collect(raw, query=wide, drop=["y"])
        assert set(pl.read_parquet(paths.partition("2024-01"))["part"].str.slice(0, 18)) == {"987654321098765432"}
        del raw["data"]["columns"]["part"]
        with pytest.raises(ConfigurationError, match=r"the statement cannot convert a value.* 22P02") as refused:
            collect(raw, query="SELECT *, outcome::int AS day FROM deliveries")
        assert "kept" not in str(refused.value)
        raw["data"]["source"]["drop"] = []
        monkeypatch.setenv("ORDERS_PASSWORD", "wrong-s3cr3t")
        with pytest.raises(ConfigurationError, match="password authentication failed") as caught:
            collect(raw, query="SELECT * FROM deliveries")
        assert "s3cr3t" not in str(caught.value)


def test_time_is_made_of_a_day_and_a_time_of_day(
    workspace: Path, raw: dict[str, Any], postgres: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    declare(raw, "promised", "order")
    query = "SELECT DATE '2024-01-31' AS day, TIME '07:30' AS clock, 'a' AS \"order\", 'kept' AS outcome"
    combine = {"promised": {"columns": ["day", "clock"], "format": "%Y-%m-%d %H:%M:%S"}}
    url = _without_password(postgres, monkeypatch)
    raw["data"]["source"] = {"kind": "sql", "version": "1", "url": url, "query": query, "combine": combine}
    collect(raw, cursor="day", drop=["day", "clock"])
    assert pl.read_parquet(paths.partition("2024-01"))["promised"].to_list() == [datetime(2024, 1, 31, 7, 30)]


def test_sqlite_keeps_the_first_moment_of_a_month_in_it(workspace: Path, raw: dict[str, Any]) -> None:
    import sqlite3

    with sqlite3.connect("t.sqlite") as connection:
        connection.execute('CREATE TABLE t (promised TEXT, "order" TEXT, outcome TEXT)')
        times = ["2024-01-31 23:59:59", "2024-02-01 00:00:00", "2024-02-01T00:00:00", "2024-02-01"]
        connection.executemany("INSERT INTO t VALUES (?, ?, NULL)", [(at, f"{i}") for i, at in enumerate(times)])
    connection.close()
    raw["data"]["source"] = {
        "kind": "sql", "version": "1", "url": "sqlite:///t.sqlite", "table": "t", "cursor": "promised"}  # fmt: skip
    declare(raw, "promised", "order")
    collect(raw, "2024-02")
    assert pl.read_parquet(paths.partition("2024-02"))["order"].to_list() == ["1", "2", "3"]


def _sqlite(raw: dict[str, Any], kinds: str, *rows: tuple[Any, ...], **source: Any) -> None:
    """A database with a table `t` of these columns, and `promised`, `order` and `outcome`; and its source."""
    import sqlite3

    with sqlite3.connect("t.sqlite") as connection:
        connection.execute(f'CREATE TABLE t (promised TEXT, "order" TEXT, outcome TEXT, {kinds})')
        for number, row in enumerate(rows):
            values = ("2024-01-02", f"{number}", None, *row)
            connection.execute(f"INSERT INTO t VALUES ({', '.join('?' * len(values))})", values)
    connection.close()
    declare(raw, "promised", "order")
    wanted = {"table": "t"} if "query" not in source else {}
    raw["data"]["source"] = {
        "kind": "sql", "version": "1", "url": "sqlite:///t.sqlite", "cursor": "promised", **wanted, **source}  # fmt: skip


@pytest.mark.parametrize(
    "query",
    [
        "SELECT * FROM t -- the orders",
        "SELECT * FROM t -- it's a comment",
        "SELECT * FROM t; -- the orders\n",
        "SELECT *, ' :x;' AS note FROM t\n;\n",
    ],
)
def test_query_may_end_in_a_comment_and_hold_a_colon(workspace: Path, raw: dict[str, Any], query: str) -> None:
    _sqlite(raw, "depot TEXT", ("north",), query=query)
    collect(raw)
    assert pl.read_parquet(paths.partition("2024-01"))["order"].to_list() == ["0"]


@pytest.mark.parametrize("query", ["SELEC 1", "SELECT * FROM nowhere", "SELECT nofunction(1)", "SELECT 1; SELECT 2"])
def test_statement_that_can_never_work_is_for_a_person_to_correct(
    workspace: Path, raw: dict[str, Any], query: str
) -> None:
    _sqlite(raw, "depot TEXT", query=query)
    with pytest.raises(ConfigurationError, match="the database refused the statement"):
        collect(raw)


def test_locked_database_can_be_retried(workspace: Path, raw: dict[str, Any]) -> None:
    import sqlite3

    _sqlite(raw, "depot TEXT", ("north",), url="sqlite:///t.sqlite?timeout=0")
    holder = sqlite3.connect("t.sqlite", isolation_level=None)
    holder.execute("PRAGMA locking_mode = EXCLUSIVE")
    holder.execute("BEGIN EXCLUSIVE")
    try:
        with pytest.raises(UnavailableError, match="locked"):
            collect(raw)
    finally:
        holder.close()


def test_file_of_a_database_that_is_not_there_yet_is_not_made(workspace: Path, raw: dict[str, Any]) -> None:
    _sqlite(raw, "depot TEXT", url="sqlite:///later.sqlite")
    with pytest.raises(UnavailableError, match=r"there is no file .*later\.sqlite"):
        collect(raw)
    assert not Path("later.sqlite").exists()


def test_values_of_a_database_keep_what_they_are(workspace: Path, raw: dict[str, Any]) -> None:
    wide = 2**60 + 1
    _sqlite(raw, "depot BLOB, part INTEGER, mixed", (b"ada", wide, 1), ("bo", None, "x"), (b"", 2, None))
    raw["data"]["columns"] |= {
        "depot": {"kind": "category"},
        "part": {"kind": "category"},
        "mixed": {"kind": "category"},
    }
    collect(raw)
    table = pl.read_parquet(paths.partition("2024-01")).sort("order")
    assert table["depot"].to_list() == ["ada", "bo", None]
    assert table["part"].to_list() == [str(wide), None, "2"]
    assert table["mixed"].to_list() == ["1", "x", None]


def test_no_value_of_a_database_is_read_by_the_type_of_those_before_it(workspace: Path, raw: dict[str, Any]) -> None:
    _sqlite(raw, "weight", *[(3,)] * 500, (2.5,))
    raw["data"]["columns"]["weight"] = {"kind": "number"}
    collect(raw)
    assert pl.read_parquet(paths.partition("2024-01"))["weight"].sum() == 1502.5


def test_hole_among_the_months_is_no_passing_thing(workspace: Path, raw: dict[str, Any]) -> None:
    _sqlite(raw, "depot TEXT", ("north",), ("south",))
    with pytest.raises(DataRejectedError, match="no rows of 2023-12, but 2 of later months"):
        collect(raw, "2023-12")
    with pytest.raises(UnavailableError, match="has it been delivered yet"):
        collect(raw, "2024-02")


def test_bytes_that_are_no_text_are_refused_by_their_column_unless_it_is_dropped(
    workspace: Path, raw: dict[str, Any]
) -> None:
    _sqlite(raw, "depot BLOB", (b"\xff\xfe",))
    with pytest.raises(DataRejectedError, match="column 'depot' holds bytes that are not UTF-8 text"):
        collect(raw)
    collect(raw, drop=["depot"])


def test_database_that_is_not_there_can_be_retried(workspace: Path, raw: dict[str, Any]) -> None:
    url = "postgresql+psycopg://nobody@127.0.0.1:1/none"
    raw["data"]["source"] = {"kind": "sql", "version": "1", "url": url, "table": "t", "cursor": "promised"}
    with pytest.raises(UnavailableError, match="does not answer"):
        collect(raw)
