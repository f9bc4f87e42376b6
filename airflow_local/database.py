"""Airflow's database, before Airflow is started with it."""

from __future__ import annotations

import sqlite3
import subprocess
import time
from contextlib import closing

from airflow_local.site import HOME, SQLITE, Choice, settings
from contract.errors import ConfigurationError, UnavailableError


def migrate(choice: Choice) -> None:
    """Upgrade the database to this version of Airflow. It takes seconds, so it is done once for a version.

    Raises:
        UnavailableError: it failed.
    """
    version = choice.database.encode() + choice.lock
    stamp = HOME / "migrated"
    if stamp.is_file() and stamp.read_bytes() == version and (choice.database != "sqlite" or SQLITE.is_file()):
        return
    print("preparing Airflow's database", flush=True)
    log = HOME / "logs" / "migrate.log"
    with log.open("ab") as out:
        code = subprocess.call([choice.airflow, "db", "migrate"], env=settings(choice), stdout=out, stderr=out)
    if code:
        raise UnavailableError(f"`airflow db migrate` failed with exit code {code}; see {log}")
    stamp.write_bytes(version)


def require(choice: Choice) -> None:
    """Check that SQLite's database is there: Airflow's own commands would end with a traceback.

    Raises:
        ConfigurationError: it is gone or broken.
    """
    if choice.database == "sqlite" and not is_whole():
        raise ConfigurationError(
            f"{SQLITE}, Airflow's database, is gone or broken; `bin/airflow-local up` makes a new one"
        )


def set_aside_unless_whole() -> None:
    """Set a broken SQLite database aside; it held the history of runs, while their results are stored elsewhere."""
    if is_whole():
        return
    for name in ("airflow.db", "airflow.db-wal", "airflow.db-shm"):
        if (HOME / name).exists():
            aside = (HOME / name).rename(HOME / f"{name}.broken-{time.strftime('%Y%m%dT%H%M%S')}")
            print(f"Airflow's database is broken or incomplete; kept as {aside}")


def is_whole() -> bool:
    """Tell whether SQLite's database is there, and every page of it can be read.

    Raises:
        UnavailableError: SQLite cannot tell: the disk is full, fails, or refuses to be written to.
    """
    if not SQLITE.is_file():
        return False
    try:
        with closing(sqlite3.connect(SQLITE)) as database:
            # If the file goes while Airflow runs, the next connection makes one without tables.
            tables = database.execute("SELECT count(*) FROM sqlite_master WHERE name = 'alembic_version'").fetchone()
            return tables == (1,) and bool(database.execute("PRAGMA quick_check(1)").fetchone() == ("ok",))
    except sqlite3.DatabaseError as error:
        # The low byte is the primary code. Source: sqlite.org/rescode.html
        if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            return False
        raise UnavailableError(f"cannot check {SQLITE}: {error}") from error
