"""Nothing of a run may outlive it: real processes, real signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness import PROJECT, processes
from harness.waiting import until
from pipelines.runs.processes import run_group

# A stage that does not care for its parent's death, as `sh -c 'a; b'` under a killed dvc.
STUBBORN = "trap '' TERM; echo $$ > pid; mv pid pid.txt; while :; do sleep 0.1; done"


def test_exit_code_passes_through(tmp_path: Path) -> None:
    assert run_group(["sh", "-c", "exit 65"], cwd=tmp_path, env=os.environ) == 65


def test_what_a_command_left_behind_is_ended(tmp_path: Path) -> None:
    assert run_group(["sh", "-c", "sleep 60 & echo $! > pid.txt"], cwd=tmp_path, env=os.environ) == 0
    until(lambda: not alive(tmp_path))


def test_the_whole_group_ends_when_we_are_told_to_stop(tmp_path: Path) -> None:
    process = start(tmp_path)
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 128 + signal.SIGTERM
    until(lambda: not alive(tmp_path))


def test_a_command_ends_that_was_about_to_start_when_we_were_told_to_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    popen, started = subprocess.Popen, []

    def interrupted(*arguments: Any, **options: Any) -> subprocess.Popen[bytes]:
        started.append(popen(*arguments, **options))
        signal.raise_signal(signal.SIGTERM)
        return started[0]

    monkeypatch.setattr(subprocess, "Popen", interrupted)
    assert run_group(["sleep", "60"], cwd=tmp_path, env=os.environ, grace_s=0.5) == 128 + signal.SIGTERM
    assert started[0].poll() == -signal.SIGTERM


def test_the_group_ends_when_whoever_started_us_is_killed(tmp_path: Path) -> None:
    program = f"import subprocess, sys; subprocess.run({command(die_with_parent=True)!r})"
    parent = subprocess.Popen([sys.executable, "-c", program], cwd=tmp_path, env=environment())
    until((tmp_path / "pid.txt").exists)
    parent.kill()
    parent.wait()
    until(lambda: not alive(tmp_path))


def start(directory: Path) -> subprocess.Popen[bytes]:
    process = subprocess.Popen(command(), cwd=directory, env=environment())
    until((directory / "pid.txt").exists)
    return process


def command(*, die_with_parent: bool = False) -> list[str]:
    program = (
        "import os, sys; from pathlib import Path; from pipelines.runs import processes\n"
        f"{'processes.die_with_parent()' if die_with_parent else ''}\n"
        f"sys.exit(processes.run_group(['sh', '-c', {STUBBORN!r}], cwd=Path(), env=os.environ, grace_s=0.5))"
    )
    return [sys.executable, "-c", program]


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(PROJECT)}


def alive(directory: Path) -> bool:
    return bool(processes.running_of([int((directory / "pid.txt").read_text())]))
