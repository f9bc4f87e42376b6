"""What the drills of a fleet share: good callers at a rate that it sustains, a replica killed, and the counts."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from drills.fleet.fleets import DrilledFleet, asked, waited
from drills.results import Result
from drills.under_load import REQUESTS, SHARE
from fleet.state import socket_of
from fleet.supervisor.processes import send
from fleet.supervisor.unix_http import answers

_RATE_PER_S = 300.0  # at most; less where others who use this machine leave no time for it
_ALONE_S = 10.0
_SUSTAINED_P99_MS = 100.0
_LEAST_S = 75.0
_ALL_SERVE = "each has the golden answer"


@contextmanager
def under_load(one: DrilledFleet, *versions: str, share: float = 1.0) -> Iterator[dict[str, Any]]:
    """Good callers beside the block, at a rate that the fleet sustains when nothing happens to it; what they found is there after it."""
    rate_per_s = share * _RATE_PER_S
    while True:
        with asked(one, rate_per_s, _ALONE_S, *versions) as alone:
            pass
        if alone["p99_ms"] < _SUSTAINED_P99_MS and not alone["failed"]:
            break
        rate_per_s *= SHARE
    with asked(one, rate_per_s, max(_LEAST_S, 1.03 * share * REQUESTS / rate_per_s), *versions) as found:
        yield found
    print(
        f"  asked {rate_per_s:.0f} times a second; p99 {alone['p99_ms']:.0f} ms alone, {found['p99_ms']:.0f} ms beside"
    )


def counted(fault: int, name: str, injected: str, found: dict[str, Any]) -> Result:
    print(f"  {name}: {found['outcomes']}")
    held = not found["failed"] and found["asked"] >= REQUESTS
    return Result(fault, name, injected, found["asked"], found["failed"], _ALL_SERVE, held)


def kill_and_wait(one: DrilledFleet, name: str) -> float:
    """Seconds from the end of a replica's process until the next one is ready."""
    killed = one.pids(name)
    send(killed, signal.SIGKILL)
    path = socket_of("http", name, one.root)

    def is_back() -> bool:
        return bool(one.pids(name) - killed) and answers(path, "/readyz", limit_s=1)

    return waited(is_back, f"{name} to be ready again")


@contextmanager
def stopped(one: DrilledFleet, program: str) -> Iterator[None]:
    pids = one.pids(program)
    send(pids, signal.SIGSTOP)
    try:
        yield
    finally:
        send(pids, signal.SIGCONT)
