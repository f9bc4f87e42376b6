"""`airflow-local up` on a disk that is full or read-only, and where Airflow fails: one line, and an exit code that says what helps."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from airflow_local import database
from contract.errors import UnavailableError
from harness.ports import free_ports
from tests.dags.machine import install, without_airflow
from tests.faults import disks


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Airflow's home; Airflow itself is a script that fails."""
    install(tmp_path, "#!/bin/sh\nexit 3\n")
    return tmp_path / "home"


def refuse(home: Path, code: int, reason: str) -> None:
    (port,) = free_ports(1)
    environment = {"BULKHEAD_AIRFLOW_HOME": str(home), "BULKHEAD_AIRFLOW_PORT": str(port)}
    command = [sys.executable, home.parent / "bin" / "airflow-local", "up"]
    done = subprocess.run(command, env=without_airflow() | environment, capture_output=True, text=True, check=False)
    assert (done.returncode, len(done.stderr.splitlines())) == (code, 1), done.stderr
    assert done.stderr.startswith("airflow-local up stopped: ")
    assert reason in done.stderr


def test_command_says_so_when_the_disk_is_full(home: Path) -> None:
    with disks.needed(home, megabytes=1):
        with (home / "ballast").open("wb", buffering=0) as stream, pytest.raises(OSError, match="No space left"):
            while True:
                stream.write(bytes(4096))
        refuse(home, 75, "No space left on device")


def test_command_says_so_when_the_disk_is_read_only(home: Path) -> None:
    with disks.needed(home, megabytes=1), disks.read_only(home):
        refuse(home, 78, "Read-only file system")


def test_database_is_not_taken_for_broken_when_it_cannot_be_opened(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "SQLITE", home / "airflow.db")
    with disks.needed(home, megabytes=1):
        with closing(sqlite3.connect(home / "airflow.db")) as connection:
            connection.execute("PRAGMA journal_mode = wal")
            connection.execute("CREATE TABLE runs (id TEXT)")
        with disks.read_only(home), pytest.raises(UnavailableError, match=f"cannot check {home}/airflow.db: "):
            database.is_whole()


def test_command_names_the_log_when_airflow_fails(home: Path) -> None:
    refuse(home, 75, f"`airflow db migrate` failed with exit code 3; see {home}/logs/migrate.log")
