"""The judge of a canary, in simulated and in real rollouts: of equal bundles, and of worse ones."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from drills.callers import good
from drills.fleet.canary.simulation import Canary, rollout
from drills.fleet.canary.worse import FAULTS, traffic, worse
from drills.fleet.fleets import DrilledFleet, fleets
from drills.results import Result
from fleet.canary.controller import FILE_NAME
from fleet.canary.judge import PROMOTE, ROLL_BACK
from harness import PROJECT
from harness.bundles import Bundle
from harness.waiting import until

RATE_PER_S = 300.0
_SIMULATED = 200
_REAL, _WORSE = 20, 2
_MOST_ALARMS, _LEAST_CAUGHT = 0.02, 0.95
_DECIDED_S, _ROLLED_BACK_S = 5.0, 2.0
_ROLLOUT_LIMIT_S = 300.0
_ROUND_S = 20.0
_KINDS = {
    "1 % errors": Canary(errors=0.01),
    "30 % slower": Canary(slowdown=1.3),
    "shifted score": Canary(shift=0.1),
    "swapped label": Canary(swapped=True),
}


def judge(bundle: Bundle) -> list[Result]:
    """Simulate rollouts, then run real ones."""
    with fleets(bundle) as (one,):
        return [*simulated(_SIMULATED), *real(one, _REAL, _WORSE)]


def simulated(count: int) -> list[Result]:
    """Simulate `count` rollouts of the same bundle and of each worse one, from 1 % of the requests on."""
    found = [_alarms("simulated", _verdicts(count, Canary()))]
    found += [_caught(f"simulated, {name}", _verdicts(count, each)) for name, each in _KINDS.items()]
    # Of 300 requests a second, 1 % errors of 1 % for the canary are one in half a minute.
    for weight in (1, 5, 25):
        ends = _verdicts(count, Canary(errors=0.05), weight)
        seconds = median(end[1] for end in ends)
        name = f"simulated, 5 % errors at {weight} %"
        held = seconds <= _DECIDED_S or weight == 1
        late = f"decided within {seconds:.1f} s in the median; {_DECIDED_S:g} s at most, from 5 % of the requests on"
        found.append(Result(30, name, "5 % errors", len(ends), 0, late, held))
    return found


def real(one: DrilledFleet, equal: int, of_each: int) -> list[Result]:
    """Roll out bundles on a fleet of two replicas under load: the same ones, by turns, and then worse ones."""
    one.serve(2)
    requests = traffic(one.bundle, one.ports[0], one.scratch / "traffic")
    digests = {kind: one.put(worse(one.bundle, one.scratch / kind, kind)) for kind in FAULTS}
    right, wrong = (one.first, one.second), tuple(digests.values())
    with asking(one, requests, *right) as asked:
        ends = [rolled_out(one, _other(one)) for _ in range(equal)]
    found = [_alarms("real", [(end.kind, end.seconds) for end in ends])] if ends else []
    caught: list[End] = []
    with asking(one, requests, *right, *wrong) as beside:
        for kind, digest in digests.items():
            ended = [rolled_out(one, digest) for _ in range(of_each)]
            caught += ended
            found.append(_caught(f"real, {kind}", [(end.kind, end.seconds) for end in ended]))
    if caught:
        slowest = max(end.rollback_s for end in caught)
        within = f"within {slowest:.1f} s of the verdict, {_ROLLED_BACK_S:g} s at most"
        found.append(
            Result(30, "rollback", "the verdict on a worse bundle", len(caught), 0, within, slowest <= _ROLLED_BACK_S)
        )
    # Answers of a canary with other scores are answers; what no caller may see is an error.
    failed = sum(
        count for outcomes in (asked, beside) for outcome, count in outcomes.items() if outcome not in ("200", "wrong")
    )
    total = sum(asked.values()) + sum(beside.values())
    print(f"  callers: {dict(asked)} beside equal bundles, {dict(beside)} beside worse ones", flush=True)
    found.append(
        Result(30, "callers", "all rollouts", total, failed, "each is answered, by a retry if need be", not failed)
    )
    return found


@dataclass(frozen=True)
class End:
    """The end of a real rollout; `rollback_s`: from the verdict until the last request had gone to the canary."""

    kind: str
    why: str
    seconds: float
    rollback_s: float


def rolled_out(one: DrilledFleet, digest: str) -> End:
    """Deploy a bundle as a canary that is judged automatically, and return the end."""
    began = time.time()
    one("deploy", digest, "--canary", "auto")

    def report() -> dict[str, Any]:
        """Return the evidence of this rollout, empty until there is some."""
        path = one.root / FILE_NAME
        found: dict[str, Any] = json.loads(path.read_bytes()) if path.exists() else {}
        return found if found.get("bundle") == digest and found["started_at"] >= began else {}

    until(lambda: "ended_at" in report(), "the judge's verdict", limit_s=_ROLLOUT_LIMIT_S)
    ended = report()
    one.wait_until_ready()
    left = (one.root / "envoy" / "rds-http.json").stat().st_mtime
    end = End(ended["verdict"], ended["why"], ended["decided_at"] - ended["started_at"], left - ended["decided_at"])
    print(
        f"  {digest[:8]} {end.kind} after {end.seconds:.1f} s ({end.why}); routes {end.rollback_s:.1f} s later",
        flush=True,
    )
    return end


def _other(one: DrilledFleet) -> str:
    """Return the one of two equal bundles that is not live."""
    return one.second if one.run("status")[1]["live"]["digest"] == one.first else one.first


@contextmanager
def asking(one: DrilledFleet, requests: Path, *versions: str, rate_per_s: float = RATE_PER_S) -> Iterator[Counter[str]]:
    """Run callers beside the block; the yielded counter holds the numbers of their outcomes after it."""
    outcomes: Counter[str] = Counter()
    ended = threading.Event()
    command = good.command(requests, one.ports[0], rate_per_s, _ROUND_S, rows=1, versions=versions)

    def ask() -> None:
        """Ask, a round after the other."""
        while not ended.is_set():
            done = subprocess.run(command, cwd=PROJECT, stdout=subprocess.PIPE, check=False)
            outcomes.update(json.loads(done.stdout)["outcomes"])

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        yield outcomes
    finally:
        ended.set()
        thread.join()


def _verdicts(count: int, canary: Canary, weight: int = 1) -> list[tuple[str, float]]:
    """Return verdict and seconds of simulated rollouts."""
    with ProcessPoolExecutor() as pool:
        simulate: Callable[[int], Any] = partial(rollout, canary=canary, rate_per_s=RATE_PER_S, weight=weight)
        return [(end.verdict.kind, end.seconds) for end in pool.map(simulate, range(count), chunksize=10)]


def _alarms(name: str, ends: list[tuple[str, float]]) -> Result:
    alarms = sum(kind != PROMOTE for kind, _ in ends)
    seconds = median(each for _, each in ends)
    told = f"{alarms} false alarms, {_MOST_ALARMS:.0%} at most; promoted after {seconds:.0f} s in the median"
    return Result(
        30,
        f"{name}, equal bundles",
        "a bundle beside itself",
        len(ends),
        alarms,
        told,
        alarms <= _MOST_ALARMS * len(ends),
    )


def _caught(name: str, ends: list[tuple[str, float]]) -> Result:
    missed = sum(kind != ROLL_BACK for kind, _ in ends)
    seconds = median(each for _, each in ends)
    told = f"{len(ends) - missed} caught, {_LEAST_CAUGHT:.0%} at least; after {seconds:.0f} s in the median"
    return Result(30, name, "a worse bundle", len(ends), missed, told, missed <= (1 - _LEAST_CAUGHT) * len(ends))
