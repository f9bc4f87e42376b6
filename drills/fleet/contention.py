"""The drill of training beside a fleet: training processes and a memory hog at full tilt, at shares of the rate that the fleet sustains.

At each share, in turns: a fleet of a high weight, where it can have one (`BULKHEAD_FLEET_WEIGHT`), and one of the usual weight, each alone
and beside training in its cgroup; the latter beside the same processes without cgroups, too. At the highest share also beside training
that keeps to all cores but one, as `taskset` does it.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from contract.environment.cgroups import places
from drills.callers.good import ROWS, Answers
from drills.fleet.fleets import DrilledFleet, asked, fleets
from drills.fleet.full_tilt import MANAGED, TRAINERS, UNMANAGED, Training, training
from drills.results import Result
from drills.under_load import REQUESTS, SHARE
from fleet.isolation import weight
from fleet.supervisor.processes import FLEET_MARK, marked, programs
from harness import processes
from harness.bundles import Bundle
from harness.load import generators

SHARES = (0.1, 0.3, 0.5, SHARE)
_TURNS = 3
_EACH_S, _CALLERS_START_S, _CAPACITY_S = 3.5, 1.0, 5.0
_SUSTAINED_P99_MS, _STEP = 20.0, 0.8
_WEIGHT = 10_000
_GROWTH, _SPEED = 1.10, 0.95  # at most of p99, at least of training's rounds per CPU second
HIGH, USUAL = "high weight", "usual weight"
ALONE, MANAGED_CASE, APART, UNMANAGED_CASE = "none", "in its cgroup", "on a core less", "in no cgroup"


class Case(NamedTuple):
    """What is measured together: the fleet's weight, the training beside it, and the share of the sustained rate."""

    fleet: str
    beside: str
    share: float


@dataclass
class Measured:
    """The measurements of one case, over all turns.

    Attributes:
        p99_ms: of each turn.
        served_s: CPU time of Envoys and replicas.
        rounds, cpu_s, seconds: of training, and the time in which it did them.
    """

    p99_ms: list[float] = field(default_factory=list)
    asked: int = 0
    failed: int = 0
    served_s: float = 0.0
    rounds: int = 0
    cpu_s: float = 0.0
    seconds: float = 0.0

    def add(self, found: Mapping[str, Any], served_s: float) -> None:
        """Add the counts of good callers, and the CPU time that their requests took."""
        self.served_s += served_s
        self.p99_ms.append(found["p99_ms"])
        self.asked += found["asked"]
        self.failed += found["failed"]

    def train(self, beside: Training, seconds: float) -> None:
        """Add training's work in so many seconds."""
        (rounds, cpu_s), began = beside.progress(), time.monotonic()
        time.sleep(seconds)
        (done, used_s), ended = beside.progress(), time.monotonic()
        self.rounds += done - rounds
        self.cpu_s += used_s - cpu_s
        self.seconds += ended - began

    @property
    def latency_ms(self) -> float:
        """The median of the turns' p99."""
        return statistics.median(self.p99_ms)

    @property
    def request_ms(self) -> float:
        """The CPU time of a request, of Envoys and replicas together."""
        return self.served_s / self.asked * 1000


def contention(bundle: Bundle) -> list[Result]:
    """Measure the fleet and training alone, beside each other, and beside each other without cgroups."""
    with ExitStack() as stack:
        (one,) = stack.enter_context(fleets(bundle))
        one.weight = _WEIGHT
        one.serve(2)
        sustained = _sustained(one, bundle)
        trainings = {
            MANAGED_CASE: stack.enter_context(training(MANAGED)),
            APART: stack.enter_context(training(MANAGED, cores=_all_but_one())),
            UNMANAGED_CASE: stack.enter_context(training(UNMANAGED)),
        }
        each_s = max(_EACH_S, 1.03 * REQUESTS / _TURNS / 2 / sum(share * sustained for share in SHARES))
        found = {case: Measured() for case in cases()}
        trained = Measured()
        for _ in range(_TURNS):
            for case, measured in found.items():
                with unweighed(one) if case.fleet == USUAL else nullcontext():
                    _measure(one, case.share * sustained, each_s, trainings.get(case.beside), measured)
            with trainings[MANAGED_CASE].going():
                trained.train(trainings[MANAGED_CASE], each_s)
    print("\n".join(table(found, trained, sustained)))
    return results(found, trained, sustained)


def cases() -> Iterator[Case]:
    """Yield the cases of a turn, share by share; the one that overwhelms the fleet is the last of each."""
    for share in SHARES:
        for weighed in (HIGH, USUAL):
            yield from (Case(weighed, beside, share) for beside in (ALONE, MANAGED_CASE))
        if share == SHARE:
            yield Case(HIGH, APART, share)
        yield Case(USUAL, UNMANAGED_CASE, share)


def _measure(one: DrilledFleet, rate: float, seconds: float, beside: Training | None, measured: Measured) -> None:
    before = _served(one)
    with beside.going() if beside else nullcontext(), asked(one, rate, seconds, one.first, rows=ROWS) as found:
        if beside:
            time.sleep(_CALLERS_START_S)
            measured.train(beside, seconds - _CALLERS_START_S)
    measured.add(found, sum(now - before.get(process, 0.0) for process, now in _served(one).items()))


def _served(one: DrilledFleet) -> dict[int, float]:
    """Return the CPU seconds so far of each process that is an Envoy's or a replica's."""
    found = programs({FLEET_MARK: str(one.root)})
    members = [
        process for name, pids in found.items() if name.startswith(("envoy-", one.first[:8])) for process in pids
    ]
    return {process: processes.own_cpu_seconds(process) for process in members}


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


def _sustained(one: DrilledFleet, bundle: Bundle) -> float:
    """Return the rate that the fleet sustains with its callers on this machine, too."""
    requests = generators.encode(Answers(bundle.path).requests)
    job = generators.Job(one.ports[0], requests, os.getpid(), seconds=_CAPACITY_S)
    saturated = generators.run(generators.HTTP, job)
    rate = saturated.completed / saturated.wall_s
    while True:
        with asked(one, rate, _CAPACITY_S, one.first, rows=ROWS) as found:
            pass
        if found["p99_ms"] < _SUSTAINED_P99_MS and not found["failed"]:
            print(f"  {rate:.0f} requests a second are sustained")
            return rate
        rate *= _STEP


def _all_but_one() -> set[int]:
    """Return all cores of this process but one; the one where there is no other."""
    cores = os.sched_getaffinity(0)
    return cores - {min(cores)} or cores


def growth(found: Mapping[Case, Measured], case: Case) -> float:
    """Return p99 beside training, as a multiple of that of the same fleet alone."""
    return found[case].latency_ms / found[case._replace(beside=ALONE)].latency_ms


def kept(measured: Measured, trained: Measured) -> tuple[float, float]:
    """Return training's rounds as shares of those that it does alone: in the same time, and in the same CPU time."""
    in_time = measured.rounds / measured.seconds / (trained.rounds / trained.seconds)
    of_cpu = measured.rounds / measured.cpu_s if measured.cpu_s else 0.0
    return in_time, of_cpu / (trained.rounds / trained.cpu_s)


def table(found: Mapping[Case, Measured], trained: Measured, sustained: float) -> Iterator[str]:
    """Yield a line for each case; growth and rounds are beside those of the fleet, and of training, alone."""
    heads = f"{'p99':>9} {'CPU':>7} {'failed':>17} {'growth':>8} {'rounds':>7} {'a CPU second':>13}"
    yield f"  {'load':13} {'fleet':13} {'training':15} {heads}"
    for case, measured in found.items():
        load, failed = f"{case.share:.0%}, {case.share * sustained:.0f}/s", f"{measured.failed:,} of {measured.asked:,}"
        took = f"{measured.latency_ms:6.1f} ms {measured.request_ms:4.2f} ms"
        line = f"  {load:13} {case.fleet:13} {case.beside:15} {took} {failed:>17}"
        if case.beside != ALONE:
            in_time, of_cpu = kept(measured, trained)
            line += f" {growth(found, case):7.2f}× {in_time:7.0%} {of_cpu:13.0%}"
        yield line


def results(found: Mapping[Case, Measured], trained: Measured, sustained: float) -> list[Result]:
    """Return whether each request was answered, and for each share whether p99 and training's work stay within the bars."""
    managed = [measured for case, measured in found.items() if case.beside == MANAGED_CASE]
    failed, sent = sum(measured.failed for measured in managed), sum(measured.asked for measured in managed)
    all_told = _told(", ".join(f"{share * sustained:.0f}" for share in SHARES))
    judged = [Result(33, "training at full tilt", all_told, sent, failed, "each has the golden answer", not failed)]
    for share in SHARES:
        case, without = Case(HIGH, MANAGED_CASE, share), Case(USUAL, UNMANAGED_CASE, share)
        told, measured = _told(f"{share * sustained:.0f}"), found[case]
        grown, (_, work) = growth(found, case), kept(measured, trained)
        latency = f"{grown:.2f} times that alone, {_GROWTH} at most; {growth(found, without):.2f} without cgroups"
        rounds = f"{work:.0%} of the rounds per CPU second that it does alone, {_SPEED:.0%} at least"
        at = f"at {share:.0%} of what is sustained"
        judged += [
            Result(33, f"p99 beside training, {at}", told, measured.asked, 0, latency, grown <= _GROWTH),
            Result(33, f"speed of training, {at}", told, measured.asked, 0, rounds, work >= _SPEED),
        ]
    return judged


def _told(rates: str) -> str:
    return f"{TRAINERS} training processes and a memory hog at {rates} requests/s"
