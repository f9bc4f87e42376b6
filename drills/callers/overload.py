"""The drill of overload: fault 28, three times a replica's capacity of good callers, with probes meanwhile."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from drills.callers import good
from drills.callers.good import Answers
from drills.results import Result
from drills.under_load import repeated
from harness import PROJECT, processes, servers
from harness.bundles import Bundle
from harness.load import generators

TIMES = 3
ROWS = 32  # of a request: with single rows, this program could not send three times a core's capacity
_SECONDS = 20.0
_CAPACITY_S = 5.0
_LEAST = 0.9
_PAUSE_S = 0.05
_PROBE_LIMIT_S = 1.0  # of Envoy's health checks


def overload(bundle: Bundle) -> list[Result]:
    """Run the drill; return results for the callers, goodput, latency and probes."""
    with tempfile.TemporaryDirectory() as scratch, servers.ours(bundle, Path(scratch)) as server:
        job = generators.Job(
            server.port, generators.encode(Answers(bundle.path, ROWS).requests), server.pid, seconds=_CAPACITY_S
        )
        capacity = generators.run(generators.HTTP, job)
        capacity_per_s = capacity.completed / capacity.wall_s
        before = processes.cpu_seconds(server.pid)
        with _probing(server.port) as probes:
            found = _ask(bundle, server.port, TIMES * capacity_per_s)
        used_s = processes.cpu_seconds(server.pid) - before
    print(f"  good callers: {found['outcomes']}, p99 of the answers {found['p99_ms']:.0f} ms")
    injected = f"{TIMES} times the capacity, {TIMES * capacity_per_s:,.0f} requests of {ROWS} rows a second"
    asked, answered = found["asked"], found["outcomes"].get("200", 0)
    neither = asked - answered - found["outcomes"].get("503", 0)
    goodput = goodput_of(answered, found["outcomes"].get("503", 0), used_s * capacity.per_core)
    budget_ms = 1000 * bundle.limits.latency_budget_s
    slow = [seconds for seconds in probes if seconds > _PROBE_LIMIT_S]
    return [
        Result(28, "callers", injected, asked, neither, "the golden answer, or 503 with Retry-After", not neither),
        Result(28, "goodput", injected, asked, 0, f"{goodput:.0%} of the capacity, 90 % at least", goodput >= _LEAST),
        Result(
            28,
            "time to the answer",
            injected,
            answered,
            0,
            f"p99 {found['p99_ms']:.0f} ms, {budget_ms:.0f} ms at most",
            found["p99_ms"] <= budget_ms,
        ),
        Result(28, "probes", injected, len(probes), len(slow), "/readyz says 200 within a second", not slow),
    ]


def goodput_of(answered: int, refused: int, capacity: float) -> float:
    """Return the goodput as a share of the capacity, under a multiple of it as load.

    On a shared machine the replica may get less CPU time than during the measurement of its capacity, so the load is a higher multiple
    of it. The goodput therefore follows from the cost of a rejection, in answers, by the CPU time that the replica used; `capacity` is
    the number of answers of that time.
    """
    cost = max(0.0, capacity - answered) / max(refused, 1)
    return max(0.0, (1 - TIMES * cost) / (1 - cost)) if cost < 1 else 0.0


def _ask(bundle: Bundle, port: int, rate_per_s: float) -> dict[str, Any]:
    command = good.command(bundle.path, port, rate_per_s, _SECONDS, rows=ROWS)
    done = subprocess.run(command, cwd=PROJECT, stdout=subprocess.PIPE, check=False)  # it ends with 1 for a rejection
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@contextmanager
def _probing(port: int) -> Iterator[list[float]]:
    """Probe /readyz beside the block; yield the seconds of each probe, infinite for a failed one."""
    seconds: list[float] = []

    def probe() -> None:
        began = time.perf_counter()
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=10):
                seconds.append(time.perf_counter() - began)
        except OSError:
            seconds.append(float("inf"))

    with repeated(probe, _PAUSE_S):
        yield seconds
