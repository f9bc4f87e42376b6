"""supervisord: what it is said to run, and who may read what it is given."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet.supervisor import processes
from fleet.supervisor.supervision import Program, Supervisor
from harness.waiting import until
from tests.faults.places import ODD


@pytest.fixture
def supervisor() -> Iterator[Supervisor]:
    with tempfile.TemporaryDirectory(suffix=ODD) as directory:  # a short path, for its socket
        made = Supervisor(Path(directory))
        first = Program("first", ["/bin/sh", "-c", "exec sleep 1000"], Path(directory))
        made.start({"PATH": os.environ["PATH"]}, first)
        until(lambda: made.runs(first), "the program that it is started with")
        yield made
        made.shut_down()


def start(supervisor: Supervisor, program: Program) -> None:
    """Until it has begun: a signal before that is lost."""
    supervisor.add(program)
    until(lambda: "begun" in supervisor.log(program.name), "the program to begin")


def test_end_of_a_program_is_that_under_this_supervisord(supervisor: Supervisor, tmp_path: Path) -> None:
    path = {"PATH": os.environ["PATH"]}
    program = Program("brief", ["/bin/sh", "-c", "sleep 0.2; exit 3"], tmp_path)
    supervisor.add(program)
    until(lambda: supervisor.end_of("brief") == "exit status 3", "its end")
    supervisor.shut_down()
    supervisor.start(path, Program("first", ["/bin/sh", "-c", "exec sleep 1000"], tmp_path))
    supervisor.add(Program("brief", ["/bin/sh", "-c", "exec sleep 1000"], tmp_path))
    assert supervisor.end_of("brief") == ""


def test_program_runs_only_when_it_was_started_and_others_cannot_read_its_settings(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    program = Program("sleeper", ["/bin/sh", "-c", "echo begun; exec sleep 1000"], tmp_path)
    start(supervisor, program)
    assert supervisor.runs(program)
    path = supervisor._path(program.name)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    left = path.read_bytes()
    supervisor.remove([program.name])
    path.write_bytes(left)  # of a command that was cut short
    assert not supervisor.runs(program)
    supervisor.remove([program.name])
    start(supervisor, program)
    assert supervisor.runs(program)


def test_guard_ends_a_start_that_hangs_and_begins_another(tmp_path: Path) -> None:
    began = tmp_path / "began"
    quick = "guard.START_LIMIT_S = guard._GRACE_S = guard._FIRST_PAUSE_S = 0.1"
    hangs = ["/bin/sh", "-c", f"echo $$ >> {began}; exec sleep 1000"]
    with subprocess.Popen(["true"]) as supervisord:
        supervisord.wait()
    with tempfile.TemporaryDirectory() as directory, socket.socket(socket.AF_UNIX) as listener:
        path = f"{directory}/socket"
        script = f"from fleet.supervisor import guard; {quick}; guard.main({supervisord.pid}, {path!r}, {hangs})"
        subprocess.run([sys.executable, "-c", script], check=True)
        until(lambda: began.exists() and len(began.read_text().split()) > 1, "another start")
        listener.bind(path)
        listener.listen()
        until(lambda: not any(map(processes.lives, map(int, began.read_text().split()))), "the starts to end")
