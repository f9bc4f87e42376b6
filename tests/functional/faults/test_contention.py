"""The drill of training beside a fleet, in short: no time is measured."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from contract.environment.cgroups import places
from drills.fleet.contention import MANAGED
from drills.fleet.fleets import asked, fleets
from drills.training.endless import CGROUP
from harness import PROJECT
from harness.bundles import Bundle
from harness.processes import children
from harness.waiting import until
from pipelines.machine import cgroups
from pipelines.machine.cgroups import IDLE, Limits


def _cgroups_of(guard: int) -> set[str]:
    """Return the lines of a stage's cgroups that are of training; none before it has joined them."""
    with suppress(OSError):
        lines = [line for stage in children(guard) for line in Path(f"/proc/{stage}/cgroup").read_text().splitlines()]
        return {line for line in lines if f"/{CGROUP}/" in line}
    return set()


def test_no_request_fails_beside_training_that_gets_what_the_fleet_leaves(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cgroups, "NAME", CGROUP)
    own = cgroups.make(Limits(IDLE, 10**9), str(os.getpid()))
    own.remove()
    if own.missing:
        pytest.skip("; ".join(own.missing.values()))
    with fleets(Bundle(project / "build" / "bundle")) as (one,), ExitStack() as stack:
        one.serve(2)
        guards = []
        for name in ("0", "1", "2", "3", "hog"):
            command = [sys.executable, "-m", "drills.training.endless", str(tmp_path / name)]
            command += ["--hog", "200"] if name == "hog" else []
            guard = subprocess.Popen(command, cwd=PROJECT, env=os.environ | MANAGED, start_new_session=True)
            stack.callback(guard.wait)
            stack.callback(guard.send_signal, signal.SIGTERM)
            guards.append(guard.pid)
        until(lambda: all(_cgroups_of(guard) for guard in guards), "training to join its cgroup")
        common = places()["cpu"].directory / CGROUP
        shares = [(common / name) for name in ("cpu.idle", "cpu.shares", "cpu.weight")]
        assert next(path.read_text() for path in shares if path.exists()).strip() in ("1", "2")
        with asked(one, 50, 4, one.first) as found:
            pass
        assert (found["asked"] > 100, found["failed"]) == (True, 0)
        assert all(_cgroups_of(guard) for guard in guards)
    assert not [leaf for leaf in own.leaves if any((leaf.parent / str(guard)).exists() for guard in guards)]
