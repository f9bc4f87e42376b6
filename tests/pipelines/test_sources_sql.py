"""Databases: SQLite, and a PostgreSQL server of the tests' own."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import sqlalchemy

from contract.errors import ConfigurationError, UnavailableError
from pipelines import paths
from tests.pipelines.collecting import ROWS, collect, declare, write_csv


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
    write_csv(ROWS, "deliveries.csv")
    expected = [collect(raw, month) for month in ("2024-01", "2024-02")]
    _into_database(url, pl.concat([ROWS[300:], ROWS[:250]]))
    with_password, password = url, sqlalchemy.make_url(url).password
    if password:
        monkeypatch.setenv("ORDERS_PASSWORD", password)
        url = re.sub(r":[^:/]*@", ":${ORDERS_PASSWORD}@", url)
    raw["data"]["source"] = {"kind": "sql", "version": "1", "url": url, "table": "deliveries", "cursor": "promised"}
    assert collect(raw) != expected[0]
    _into_database(with_password, ROWS[250:310])  # ten of them for the second time
    assert [collect(raw, month) for month in ("2024-01", "2024-02")] == expected
    del raw["data"]["source"]["table"]
    assert collect(raw, query="SELECT * FROM deliveries;") == expected[0]
    with pytest.raises(ConfigurationError, match="nowhere"):
        collect(raw, query="SELECT * FROM nowhere")
    if password:
        monkeypatch.setenv("ORDERS_PASSWORD", "wrong-s3cr3t")
        with pytest.raises(ConfigurationError, match="password authentication failed") as caught:
            collect(raw, query="SELECT * FROM deliveries")
        assert "s3cr3t" not in str(caught.value)


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


def test_database_that_is_not_there_can_be_retried(workspace: Path, raw: dict[str, Any]) -> None:
    url = "postgresql+psycopg://nobody@127.0.0.1:1/none"
    raw["data"]["source"] = {"kind": "sql", "version": "1", "url": url, "table": "t", "cursor": "promised"}
    with pytest.raises(UnavailableError, match="does not answer"):
        collect(raw)
