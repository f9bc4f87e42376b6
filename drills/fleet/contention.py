"""The drill of training beside a fleet: four training processes and a memory hog at full tilt, at 70 % of the rate that the fleet sustains.

The fleet has a high weight, where it can have one (`BULKHEAD_FLEET_WEIGHT`). A fleet of the usual weight, the same processes without
cgroups, each side alone, and training that keeps to all cores but one, as `taskset` does it, are measured in the same run, in turns.
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Set
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from contract.environment.cgroups import places
from drills.callers.good import ROWS, Answers
from drills.fleet.fleets import DrilledFleet, asked, fleets
from drills.results import Result
from drills.under_load import REQUESTS, SHARE
from fleet.isolation import weight
from fleet.supervisor.processes import FLEET_MARK, marked
from harness import PROJECT, processes
from harness.bundles import Bundle
from harness.load import generators
from harness.waiting import until
from pipelines.machine import contained

_TRAINERS = 4
_HOG_MB, _LIMIT_MB = 1000, 4000
_TURNS = 2
_ALONE_S, _CAPACITY_S = 12.0, 5.0
_SUSTAINED_P99_MS, _STEP = 20.0, 0.8
_WEIGHT = 10_000
_GROWTH, _SPEED = 1.10, 0.95  # at most of p99, at least of training's rounds per CPU second
MANAGED = {contained.WEIGHT: "idle", contained.MEMORY: str(_LIMIT_MB)}
UNMANAGED = {contained.WEIGHT: "none", contained.MEMORY: "none"}


@dataclass
class Case:
    """The measurements of one case, one for each turn."""

    p99_ms: list[float] = field(default_factory=list)
    p50_ms: list[float] = field(default_factory=list)
    rounds_per_s: list[float] = field(default_factory=list)
    rounds_per_cpu_s: list[float] = field(default_factory=list)
    asked: int = 0
    failed: int = 0

    def add(self, found: Mapping[str, Any]) -> None:
        """Add the counts of good callers."""
        self.p99_ms.append(found["p99_ms"])
        self.p50_ms.append(found["p50_ms"])
        self.asked += found["asked"]
        self.failed += found["failed"]

    def train(self, progress: Callable[[], tuple[int, float]], seconds: float) -> None:
        """Add training's speed over so many seconds."""
        rounds, cpu_s, began = *progress(), time.monotonic()
        time.sleep(seconds)
        done, used = (after - before for after, before in zip(progress(), (rounds, cpu_s), strict=True))
        self.rounds_per_s.append(done / (time.monotonic() - began))
        self.rounds_per_cpu_s.append(done / used if used else 0.0)


def contention(bundle: Bundle) -> list[Result]:
    """Measure the fleet and training alone, beside each other, and beside each other without cgroups."""
    with fleets(bundle) as (one,):
        one.weight = _WEIGHT
        one.serve(2)
        rate = _rate(one, bundle)
        beside_s = max(_ALONE_S, 1.03 * REQUESTS / rate / _TURNS)
        alone, managed, usual, unmanaged, trained, apart = Case(), Case(), Case(), Case(), Case(), Case()
        for _ in range(_TURNS):
            with asked(one, rate, _ALONE_S, one.first, rows=ROWS) as found:
                pass
            alone.add(found)
            _beside(one, rate, beside_s, MANAGED, managed)
            with unweighed(one):
                _beside(one, rate, _ALONE_S, MANAGED, usual)
                _beside(one, rate, _ALONE_S, UNMANAGED, unmanaged)
            _beside(one, rate, _ALONE_S, MANAGED, apart, _all_but_one())
            with training(MANAGED) as progress:
                trained.train(progress, _ALONE_S)
    both = {"together, fleet of the usual weight": usual, "together, training on a core less": apart}
    for name, case in {"alone": alone, "together": managed, "together without cgroups": unmanaged, **both}.items():
        _tell(f"fleet {name}", case)
    for name, case in {"alone": trained, "together": managed, "together without cgroups": unmanaged, **both}.items():
        _tell_training(name, case)
    for name, case in both.items():
        print(f"  {name}: p99 {_ratio(case, alone):.2f} times that alone")
    return _results(rate, alone, managed, unmanaged, trained)


@contextmanager
def unweighed(one: DrilledFleet) -> Iterator[None]:
    """Give the fleet the usual weight during the block, where this machine has let it have another."""
    place = places().get("cpu")
    if place is None or not weight.members_of(place).is_dir():
        print("  the fleet has the usual weight: no cgroup can be made for the CPU")
        yield
        return
    if place.version == 2:  # where what has no weight of its own is in a cgroup of the usual one, too
        share = place.directory / weight.GROUP / "cpu.weight"
        share.write_text(str(weight.USUAL))
        try:
            yield
        finally:
            share.write_text(str(_WEIGHT))
        return
    _move(one, place.directory)
    try:
        yield
    finally:
        _move(one, weight.members_of(place))


def _move(one: DrilledFleet, group: Path) -> None:
    for process in marked({FLEET_MARK: str(one.root)}):
        with suppress(OSError):  # it has ended
            (group / "cgroup.procs").write_text(str(process))


def _rate(one: DrilledFleet, bundle: Bundle) -> float:
    """Return 70 % of the rate that the fleet sustains with its callers on this machine, too."""
    requests = generators.encode(Answers(bundle.path).requests)
    job = generators.Job(one.ports[0], requests, os.getpid(), seconds=_CAPACITY_S)
    saturated = generators.run(generators.HTTP, job)
    rate = saturated.completed / saturated.wall_s
    while True:
        with asked(one, rate, _CAPACITY_S, one.first, rows=ROWS) as found:
            pass
        if found["p99_ms"] < _SUSTAINED_P99_MS and not found["failed"]:
            print(f"  {rate:.0f} requests a second are sustained; asked {SHARE * rate:.0f} times a second")
            return SHARE * rate
        rate *= _STEP


def _all_but_one() -> set[int]:
    """Return all cores of this process but one; the one where there is no other."""
    cores = os.sched_getaffinity(0)
    return cores - {min(cores)} or cores


def _beside(
    one: DrilledFleet,
    rate: float,
    seconds: float,
    settings: Mapping[str, str],
    case: Case,
    cores: Set[int] | None = None,
) -> None:
    with training(settings, cores=cores) as progress, asked(one, rate, seconds, one.first, rows=ROWS) as found:
        case.train(progress, seconds - 1)
    case.add(found)


@contextmanager
def training(settings: Mapping[str, str], cores: Set[int] | None = None) -> Iterator[Callable[[], tuple[int, float]]]:
    """Run training and a memory hog during the block; yield a function that returns the rounds of boosting and their CPU seconds so far.

    Args:
        cores: that they keep to; None for all.
    """
    taskset = ["taskset", "--cpu-list", ",".join(map(str, cores))] if cores else []
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        files = [Path(scratch, str(number)) for number in range(_TRAINERS)]
        hog, trained = Path(scratch, "hog"), list[int]()
        for file in (*files, hog):
            command = [*taskset, sys.executable, "-m", "drills.training.endless", str(file)]
            command += ["--hog", str(_HOG_MB)] if file == hog else []
            # A session each: the kernel would share the time of one among all of them (sched(7), autogroup).
            process = subprocess.Popen(command, cwd=PROJECT, env=os.environ | settings, start_new_session=True)
            stack.callback(_end, process)
            trained += [] if file == hog else [process.pid]
        # Under other load the least share may take long.
        until(
            lambda: all(file.exists() and file.stat().st_size for file in (*files, hog)),
            "training to begin",
            limit_s=300,
        )
        yield lambda: (sum(file.stat().st_size for file in files), sum(map(processes.cpu_seconds, trained)))


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)  # a guard passes it on, and removes the cgroup
    process.wait()


def _tell(name: str, case: Case) -> None:
    p50, p99 = (statistics.median(values) for values in (case.p50_ms, case.p99_ms))
    print(f"  {name}: p50 {p50:.1f} ms, p99 {p99:.1f} ms; {case.failed} of {case.asked:,} failed")


def _tell_training(name: str, case: Case) -> None:
    speed, efficiency = (statistics.median(values) for values in (case.rounds_per_s, case.rounds_per_cpu_s))
    print(f"  training {name}: {speed:.1f} rounds a second, {efficiency:.1f} a CPU second")


def _ratio(case: Case, alone: Case) -> float:
    return statistics.median(case.p99_ms) / statistics.median(alone.p99_ms)


def _results(rate: float, alone: Case, managed: Case, unmanaged: Case, trained: Case) -> list[Result]:
    growth, without = _ratio(managed, alone), _ratio(unmanaged, alone)
    kept = statistics.median(managed.rounds_per_cpu_s) / statistics.median(trained.rounds_per_cpu_s)
    told = f"{_TRAINERS} training processes and a memory hog at {rate:.0f} requests/s"

    def result(name: str, invariant: str, *, holds: bool, failed: int = 0) -> Result:
        return Result(33, name, told, managed.asked, failed, invariant, holds)

    latency = f"{growth:.2f} times that alone, {_GROWTH} at most; {without:.2f} without cgroups"
    work = f"{kept:.0%} of the rounds per CPU second that it does alone, {_SPEED:.0%} at least"
    return [
        result("training at full tilt", "each has the golden answer", holds=not managed.failed, failed=managed.failed),
        result("p99 beside training", latency, holds=growth <= _GROWTH),
        result("speed of training", work, holds=kept >= _SPEED),
    ]
