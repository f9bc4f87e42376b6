"""Whatever is killed, and however stubborn the components are: the supervisor leaves nothing behind.

`airflow` is a script here that ignores SIGTERM, as does the process that it starts in a session of its own.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import processes
from harness.waiting import until
from tests.dags.machine import COMMAND, install, processes_in

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
AIRFLOW = f"""#!{sys.executable}
import signal, subprocess, sys
signal.signal(signal.SIGTERM, signal.SIG_IGN)
subprocess.run([sys.executable, "-c", {STUBBORN!r}], start_new_session=True)
"""
# Three components, each with the process that it starts, under a guardian and its child.
ALL = 2 + 2 * 3


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = install(tmp_path, AIRFLOW, COMMAND.read_text().replace("STOP_LIMIT_S = 15", "STOP_LIMIT_S = 1"))
    (tmp_path / "var" / "airflow").mkdir(parents=True)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BULKHEAD")}
    process = subprocess.Popen([sys.executable, command, "supervise"], cwd=tmp_path, env=environment)
    try:
        until(lambda: len(processes_in(tmp_path)) == ALL)
        yield process
    finally:
        for line in processes_in(tmp_path):
            os.kill(int(line.split(":")[0]), signal.SIGKILL)
        process.wait()


@pytest.mark.parametrize(
    ("whom", "number"), [("guardian", signal.SIGTERM), ("guardian", signal.SIGKILL), ("child", signal.SIGKILL)]
)
def test_nothing_is_left_when_one_is_killed(
    supervisor: subprocess.Popen[bytes], tmp_path: Path, whom: str, number: signal.Signals
) -> None:
    os.kill(supervisor.pid if whom == "guardian" else processes.children(supervisor.pid)[0], number)
    supervisor.wait()
    until(lambda: processes_in(tmp_path) == [], "all to end")
    assert (tmp_path / "var" / "airflow" / "supervisor.pid").exists() == (supervisor.returncode == -signal.SIGKILL)
