"""A replica under good callers at 70 % of its capacity while an attack runs, with a watch on its memory."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drills.callers import good
from drills.callers.good import ROWS, Answers
from harness import PROJECT, processes, servers
from harness.bundles import Bundle
from harness.load import generators
from harness.processes import resident_mb

SHARE = 0.7  # of the capacity
REQUESTS = 30_000  # zero failures of so many: the failure rate is below 1e-4, with 95 % confidence
_CAPACITY_S = 5
_ALONE_S = 10
_SAMPLE_S = 0.02
_SUSTAINED_P99_MS = 500
_LEAST_S, _MOST_S = 30.0, 120.0


@dataclass(frozen=True)
class UnderLoad:
    """The outcomes of good callers and of the replica.

    Attributes:
        capacity_per_s: requests a second of the saturated replica.
        rate_per_s: rate of the good callers.
        alone, beside: counts of `drills.callers.good` before the attack, and during it.
        done: the attack's result.
        starved: share of the attack's time for which the replica was ready to run and had no core, because of other load.
        warm_mb, most_mb: memory of all the replica's processes: with good callers alone, and its maximum during the attack.
    """

    capacity_per_s: float
    rate_per_s: float
    alone: dict[str, Any]
    beside: dict[str, Any]
    done: Any
    starved: float
    warm_mb: float
    most_mb: float

    @property
    def growth(self) -> float:
        """The growth of the replica's memory as a share; 0.1 is 10 %."""
        return self.most_mb / self.warm_mb - 1

    def __str__(self) -> str:
        return (
            f"at {self.rate_per_s:,.0f} a second of {ROWS} rows, {self.rate_per_s / self.capacity_per_s:.0%} of the capacity, p99 is "
            f"{self.alone['p99_ms']:.1f} ms alone and {self.beside['p99_ms']:.1f} ms beside; "
            f"it waited for a core for {self.starved:.0%} of the time"
        )


def under_load(bundle: Bundle, attack: Callable[[servers.Server, float], Any]) -> UnderLoad:
    """Start a replica, measure its capacity, and attack it while good callers ask it.

    Args:
        attack: called with the replica and the seconds for which good callers will ask.
    """
    with tempfile.TemporaryDirectory() as scratch, servers.ours(bundle, Path(scratch)) as server:
        job = generators.Job(
            server.port, generators.encode(Answers(bundle.path).requests), server.pid, seconds=_CAPACITY_S
        )
        capacity = generators.run(generators.HTTP, job)
        capacity_per_s = capacity.completed / capacity.wall_s
        rate, alone = _sustained(bundle, server.port, SHARE * capacity_per_s)
        warm_mb = resident_mb(server.pid)
        seconds = min(max(_LEAST_S, REQUESTS / rate), _MOST_S)
        with _most(server.pid) as most, _asking(bundle, server.port, rate, seconds) as beside:
            waited, started = processes.waited_seconds(server.pid), time.monotonic()
            done = attack(server, seconds)
            starved = (processes.waited_seconds(server.pid) - waited) / (time.monotonic() - started)
    return UnderLoad(capacity_per_s, rate, alone, beside, done, starved, warm_mb, max(most))


def _sustained(bundle: Bundle, port: int, rate_per_s: float) -> tuple[float, dict[str, Any]]:
    """Return the rate, lower where other load on this machine leaves no time for it, and the good callers' counts at it."""
    while True:
        with _asking(bundle, port, rate_per_s, _ALONE_S) as alone:
            pass
        if alone["p99_ms"] < _SUSTAINED_P99_MS and not alone["failed"]:
            return rate_per_s, alone
        rate_per_s *= SHARE


@contextmanager
def _asking(bundle: Bundle, port: int, rate_per_s: float, seconds: float) -> Iterator[dict[str, Any]]:
    """Run good callers beside the block; the yielded dictionary holds their counts after it."""
    command = good.command(bundle.path, port, rate_per_s, seconds)
    found: dict[str, Any] = {}
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE) as callers:
        yield found
        found.update(json.loads(callers.communicate()[0]))


@contextmanager
def repeated(call: Callable[[], None], pause_s: float) -> Iterator[None]:
    """Repeat the call during the block, on a thread of its own."""
    ended = threading.Event()

    def repeat() -> None:
        while not ended.wait(pause_s):
            call()

    thread = threading.Thread(target=repeat)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def _most(pid: int) -> Iterator[list[float]]:
    """Sample the memory of a process tree during the block."""
    samples = [resident_mb(pid)]
    with repeated(lambda: samples.append(resident_mb(pid)), _SAMPLE_S):
        yield samples


def run(program: str, *arguments: str) -> dict[str, Any]:
    """Run a program of the drills and return the JSON that it prints."""
    done = subprocess.run([sys.executable, "-m", program, *arguments], cwd=PROJECT, stdout=subprocess.PIPE, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found
