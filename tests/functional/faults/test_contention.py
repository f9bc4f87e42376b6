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
from drills.fleet import contention
from drills.fleet.contention import Case, Measured
from drills.fleet.fleets import asked, fleets
from drills.fleet.full_tilt import MANAGED, UNMANAGED, training
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


def test_training_works_only_while_it_is_wanted_and_ends() -> None:
    with training(UNMANAGED, trainers=1, hog_mb=10) as stopped:
        processes = [*stopped.trainers, stopped.hog]
        until(lambda: {_state(process.pid) for process in processes} == {"T"}, "training to stop")
        rounds, used_s = stopped.progress()
        with stopped.going():
            until(lambda: stopped.progress()[0] > rounds, "training to go on")
        assert stopped.progress()[1] > used_s
        until(lambda: _state(stopped.hog.pid) == "T", "the hog to stop again")
    assert all(process.poll() is not None for process in processes)


def _state(process: int) -> str:
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]


def test_growth_is_against_the_same_fleet_alone_and_work_against_training_alone() -> None:
    found = {case: Measured([10.0], 100, 0, 0.1, 90, 1.0, 2.0) for case in contention.cases()}
    for share in contention.SHARES:
        found[Case(contention.HIGH, contention.MANAGED_CASE, share)].p99_ms = [10.9]
    heaviest = contention.SHARES[-1]
    found[Case(contention.HIGH, contention.ALONE, heaviest)].p99_ms = [9.0]
    found[Case(contention.USUAL, contention.UNMANAGED_CASE, heaviest)].p99_ms = [500.0]
    trained = Measured(rounds=200, cpu_s=2.0, seconds=2.0)
    judged = {result.name: result for result in contention.results(found, trained, 1000.0)}
    within, beyond = (judged[f"p99 beside training, at {share} of what is sustained"] for share in ("50%", "70%"))
    assert (within.holds, beyond.holds) == (True, False)
    assert (within.invariant[:4], beyond.invariant) == (
        "1.09",
        "1.21 times that alone, 1.1 at most; 50.00 without cgroups",
    )
    assert not judged["speed of training, at 10% of what is sustained"].holds  # 90 rounds a CPU second instead of 100
    assert contention.kept(Measured(rounds=90, cpu_s=1.0, seconds=2.0), trained) == (0.45, 0.9)
    assert len(list(contention.table(found, trained, 1000.0))) == len(found) + 1


def test_a_request_that_failed_at_any_share_breaks_the_promise() -> None:
    found = {case: Measured([10.0], 100, 0, 0.1, 100, 1.0, 2.0) for case in contention.cases()}
    found[Case(contention.HIGH, contention.MANAGED_CASE, contention.SHARES[0])].failed = 1
    first = contention.results(found, Measured(rounds=200, cpu_s=2.0, seconds=2.0), 1000.0)[0]
    assert (first.requests, first.failed, first.holds) == (2 * 100 * len(contention.SHARES), 1, False)
