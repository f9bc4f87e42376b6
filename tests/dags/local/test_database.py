"""Airflow's database, before Airflow is started with it: a broken one is kept, out of the way."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module, whose database has two thousand rows."""
    from airflow_local import database as module

    monkeypatch.setattr(module, "HOME", tmp_path)
    monkeypatch.setattr(module, "SQLITE", tmp_path / "airflow.db")
    database = sqlite3.connect(tmp_path / "airflow.db")
    database.execute("CREATE TABLE alembic_version (version_num TEXT)")
    database.execute("CREATE TABLE runs (id TEXT)")
    database.executemany("INSERT INTO runs VALUES (?)", [(f"run-{number}",) for number in range(2000)])
    database.commit()
    database.close()
    return module


def test_database_stays_when_it_is_whole(command: Any, tmp_path: Path) -> None:
    command.set_aside_unless_whole()
    assert [path.name for path in tmp_path.iterdir()] == ["airflow.db"]


@pytest.mark.parametrize("start", [0, 4096 + 3])
def test_database_is_kept_out_of_the_way_when_it_is_broken(command: Any, tmp_path: Path, start: int) -> None:
    database = tmp_path / "airflow.db"
    content = bytearray(database.read_bytes())
    content[start : start + 40] = b"\xff" * 40
    database.write_bytes(content)
    command.set_aside_unless_whole()
    assert not database.exists()
    (aside,) = tmp_path.iterdir()
    assert aside.read_bytes() == content


def test_file_that_a_running_airflow_makes_anew_is_no_database(command: Any, tmp_path: Path) -> None:
    (tmp_path / "airflow.db").unlink()
    with closing(sqlite3.connect(tmp_path / "airflow.db")) as database:
        database.execute("PRAGMA journal_mode = wal")
    assert not command.is_whole()
    command.set_aside_unless_whole()
    assert not (tmp_path / "airflow.db").exists()


def test_what_is_left_beside_a_lost_database_is_not_taken_for_a_part_of_the_new_one(
    command: Any, tmp_path: Path
) -> None:
    (tmp_path / "airflow.db").rename(tmp_path / "airflow.db-wal")
    command.set_aside_unless_whole()
    (aside,) = tmp_path.iterdir()
    assert aside.name.startswith("airflow.db-wal.broken-")
