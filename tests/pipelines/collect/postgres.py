"""A PostgreSQL server of a test's own, on a port of the loopback interface."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness.ports import free_ports

PASSWORD = "p@ss/s3cr3t"


@contextmanager
def running(_: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of an empty database that asks for a password; skips where there is no server to start."""
    binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    found = str(binaries[-1]) if binaries else shutil.which("initdb")
    if found is None:
        pytest.skip("no PostgreSQL server here (Debian package postgresql)")
    bin_directory = Path(found).parent
    user = _unprivileged()
    (port,) = free_ports(1)
    with tempfile.TemporaryDirectory(prefix="bulkhead-pg-", ignore_cleanup_errors=True) as directory:
        words = Path(directory, "password")
        words.write_text(PASSWORD)
        if user:
            for path in (directory, words):
                shutil.chown(path, user)
        data = Path(directory, "data")
        init = [
            bin_directory / "initdb",
            "-D",
            data,
            "-U",
            "tester",
            "-E",
            "UTF8",
            "-A",
            "scram-sha-256",
            f"--pwfile={words}",
            "-N",
        ]
        _run(user, directory, *init)
        options = f"-p {port} -k {directory} -c listen_addresses=127.0.0.1 -c fsync=off -c timezone=Asia/Tokyo"
        control = [bin_directory / "pg_ctl", "-D", data]
        _run(user, directory, *control, "-w", "-l", f"{directory}/log", "-o", options, "start")
        try:
            quoted = PASSWORD.replace("@", "%40").replace("/", "%2F")
            yield f"postgresql+psycopg://tester:{quoted}@127.0.0.1:{port}/postgres"
        finally:
            _run(user, directory, *control, "-m", "immediate", "-w", "stop")


def _unprivileged() -> str | None:
    """PostgreSQL refuses to run as root."""
    if os.geteuid():
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"


def _run(user: str | None, directory: str, *command: str | Path) -> None:
    subprocess.run(
        [str(part) for part in command],
        user=user,
        cwd=directory,
        env={"PATH": os.defpath, "LANG": "C"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=True,
        timeout=60,
    )
