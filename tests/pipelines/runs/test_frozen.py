"""A frozen attempt loses its workspace to the next one, and what it would have written late is never written."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest
import yaml

from contract.errors import UnavailableError
from harness import PROJECT
from harness.waiting import until
from pipelines.data.integrity.objects import md5_of
from pipelines.runs import holding
from pipelines.runs.commands import environment_of, repro
from pipelines.runs.workspaces.opening import open_workspace
from pipelines.runs.workspaces.workspace import Workspace
from tests.pipelines.runs.conftest import commit

CHECK = """\
import time
from pathlib import Path
attempts = Path("../../attempts.txt")
first = not attempts.exists()
attempts.open("a").write("attempt ")
while first and not Path("../../woken.txt").exists():
    time.sleep(0.05)
Path("report.txt").write_text("late" if first else "in time")
"""


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holding, "FROZEN_S", 1.0)


def _first_attempt(project: Path, workspace: Workspace) -> subprocess.Popen[bytes]:
    """Start an attempt in another process, and wait until its stage is at work."""
    (project / "check.py").write_text(CHECK)
    commit(project)
    open_workspace(workspace)
    command = [sys.executable, "-m", "pipelines.runs", "repro", "--run", workspace.run, "validate"]
    environment = environment_of(project, workspace.var) | {"PYTHONPATH": os.pathsep.join([str(PROJECT), *sys.path])}
    first = subprocess.Popen(command, cwd=project, env=environment)
    until((project / "var" / "attempts.txt").exists, "the first attempt", limit_s=60)
    return first


def test_late_write_of_a_frozen_attempt_is_refused_when_it_is_woken(project: Path, workspace: Workspace) -> None:
    first = _first_attempt(project, workspace)
    frozen = [psutil.Process(first.pid), *psutil.Process(first.pid).children(recursive=True)]
    for process in frozen:
        process.suspend()
    (project / "var" / "woken.txt").touch()

    assert repro(workspace, ["validate"], environment_of(project, workspace.var)) == 0
    for process in frozen:
        if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            process.resume()
    assert first.wait(30) == -signal.SIGKILL
    assert (project / "var" / "attempts.txt").read_text() == "attempt attempt "
    report = workspace.path / "report.txt"
    assert report.read_text() == "in time"
    stages = yaml.safe_load((workspace.path / "dvc.lock").read_text())["stages"]
    assert stages["validate"]["outs"][0]["md5"] == md5_of(report)


def test_frozen_attempt_is_ended_when_the_clock_was_set_meanwhile(
    project: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = _first_attempt(project, workspace)
    first.send_signal(signal.SIGSTOP)
    # As with any other time of the boot, which psutil adds.
    monkeypatch.setattr(psutil.Process, "create_time", lambda _: 0.0)
    assert repro(workspace, ["validate"], environment_of(project, workspace.var)) == 0
    assert first.wait(30) == -signal.SIGKILL


def test_frozen_attempt_of_an_earlier_version_is_ended(tmp_path: Path) -> None:
    holder = subprocess.Popen(["sleep", "60"])
    record = {"machine": holding._machine(), "pid": holder.pid, "started": psutil.Process(holder.pid).create_time()}
    holding._end(json.loads(json.dumps(record)), "lock")
    assert holder.wait(30) == -signal.SIGKILL


def test_process_that_has_the_number_of_an_ended_holder_is_left_alone() -> None:
    other = subprocess.Popen(["sleep", "60"])
    for started in (1.0, psutil.Process(other.pid).create_time() - 3600):
        holding._end({"machine": holding._machine(), "pid": other.pid, "started": started}, "lock")
    assert other.poll() is None
    other.kill()
    assert other.wait(30) == -signal.SIGKILL


def test_stage_of_a_killed_attempt_is_ended_before_the_next_one_works(project: Path, workspace: Workspace) -> None:
    first = _first_attempt(project, workspace)
    started = psutil.Process(first.pid).children(recursive=True)
    first.kill()
    first.wait()
    assert repro(workspace, ["validate"], environment_of(project, workspace.var)) == 0
    until(lambda: not any(process.is_running() for process in started), "the end of its processes")
    assert (workspace.path / "report.txt").read_text() == "in time"


def test_a_holder_that_beats_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock, seen = tmp_path / "lock", set[int]()
    monkeypatch.setattr(holding, "_BEAT_S", 0.02)
    monkeypatch.setattr(holding, "FROZEN_S", 30.0)
    monkeypatch.setattr(holding, "_end", lambda *_: pytest.fail("the holder was ended"))
    second = threading.Event()

    def attempt() -> None:
        with holding.held(lock):
            second.set()

    with holding.held(lock):
        thread = threading.Thread(target=attempt)
        thread.start()
        until(lambda: (seen.add(lock.stat().st_mtime_ns) or len(seen)) > 5)
        assert not second.is_set()
    thread.join()
    assert second.is_set()


def test_a_frozen_holder_elsewhere_is_named_and_not_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = tmp_path / "lock"
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(holding, "_machine", lambda: "another boot")
        elsewhere.setattr(holding, "_beat", lambda *_: None)
        holder = holding.held(lock)
        holder.__enter__()
    with pytest.raises(UnavailableError, match=f"held by process {os.getpid()} on another machine"), holding.held(lock):
        pass
    holder.__exit__(None, None, None)
