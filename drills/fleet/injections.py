"""The common parts of a fleet's drills: good callers at a sustainable rate, a killed replica, and the counts."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from drills.fleet.fleets import DrilledFleet, asked
from drills.results import Result
from drills.under_load import REQUESTS, SHARE
from fleet.configuration.state import socket_of
from fleet.supervisor.processes import send
from fleet.supervisor.unix_http import answers
from harness.waiting import until

_RATE_PER_S = 300.0  # at most; less where other load on this machine leaves no time for it
_ALONE_S = 10.0
SUSTAINED_P99_MS = 100.0
_LEAST_S = 75.0
_ALL_SERVE = "each has the golden answer"


@contextmanager
def under_load(
    one: DrilledFleet, *versions: str, share: float = 1.0, over_grpc: bool = False
) -> Iterator[dict[str, Any]]:
    """Run good callers beside the block, at a rate that the undisturbed fleet sustains; the yielded dictionary holds their counts."""
    rate_per_s = share * _RATE_PER_S
    while True:
        with asked(one, rate_per_s, _ALONE_S, *versions, over_grpc=over_grpc) as alone:
            pass
        if alone["p99_ms"] < SUSTAINED_P99_MS and not alone["failed"]:
            break
        rate_per_s *= SHARE
    seconds = max(_LEAST_S, 1.03 * share * REQUESTS / rate_per_s)
    with asked(one, rate_per_s, seconds, *versions, over_grpc=over_grpc) as found:
        yield found
    print(
        f"  asked {rate_per_s:.0f} times a second; p99 {alone['p99_ms']:.0f} ms alone, {found['p99_ms']:.0f} ms beside"
    )


def counted(fault: int, name: str, injected: str, found: dict[str, Any]) -> Result:
    """Return the result of a fault under good callers."""
    print(f"  {name}: {found['outcomes']}")
    held = not found["failed"] and found["asked"] >= REQUESTS
    return Result(fault, name, injected, found["asked"], found["failed"], _ALL_SERVE, held)


@contextmanager
def over_both(one: DrilledFleet, *versions: str) -> Iterator[dict[str, Any]]:
    """Run good callers as `under_load` does, half of them over gRPC; the yielded dictionary holds the counts of both."""
    found: dict[str, Any] = {}
    with (
        under_load(one, *versions, share=0.5) as http,
        under_load(one, *versions, share=0.5, over_grpc=True) as grpc,
    ):
        yield found
    found.update({key: http[key] + grpc[key] for key in ("asked", "failed", "losses")})
    found["outcomes"] = {"HTTP": http["outcomes"], "gRPC": grpc["outcomes"]}


def kill_and_wait(one: DrilledFleet, name: str) -> float:
    """Kill a replica's process; return the seconds until its successor is ready."""
    killed = one.pids(name)
    send(killed, signal.SIGKILL)
    path = socket_of("http", name, one.root)

    def is_back() -> bool:
        return bool(one.pids(name) - killed) and answers(path, "/readyz", limit_s=1)

    return until(is_back, f"{name} to be ready again")


@contextmanager
def stopped(one: DrilledFleet, program: str) -> Iterator[None]:
    """Stop a program's processes (SIGSTOP) for the block."""
    pids = one.pids(program)
    send(pids, signal.SIGSTOP)
    try:
        yield
    finally:
        send(pids, signal.SIGCONT)
