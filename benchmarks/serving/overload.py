"""Goodput at three times a replica's capacity, and the latencies of answers and rejections.

A replica alone, and behind the fleet's Envoy. It shares its core with busy programs: otherwise no generator on the other core, which
Envoy needs too, could send enough. The CPU cost of an answer and of a rejection stays the same.
"""

from __future__ import annotations

import json
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benchmarks.measures import percentile
from benchmarks.results import Bar, Figure, figures
from benchmarks.serving import replica as serving
from harness import processes, servers
from harness.bundles import Bundle
from harness.load import closed_loop, generators, open_loop
from harness.load.generators import Job
from harness.load.open_loop import OpenJob, OpenOutcome
from harness.servers import Server

TIMES = 3
SECONDS = 10.0
WARM_UP_S = 3.0  # in which the connections are opened
_ROUNDS = 3
_SATURATED_S = 2.0
_BESIDE = 4  # busy programs on its core
_CONNECTIONS = 3000
_ANSWERED = {"http": "200", "grpc": "OK"}
_REFUSED = {"http": "503", "grpc": "refused"}


class OddOutcomeError(Exception):
    """A request was neither answered nor rejected for the overload."""


@dataclass(frozen=True)
class Case:
    """One kind of request."""

    protocol: str
    rows: int
    requests: tuple[str, ...]


def overload(bundle: Bundle) -> list[Figure]:
    """Return goodput and latencies of each kind of request, for a replica alone and behind Envoy."""
    budget_ms = 1000 * bundle.limits.latency_budget_s
    found = []
    with _running(bundle) as (replica, proxy):
        for case in _cases(bundle, replica):
            capacity = _capacity(case, replica)
            for server in (replica, proxy):
                name = f"overload_{case.protocol}_{case.rows}{'_fleet' if server is proxy else ''}"
                found += _figures(name, case, _overloaded(case, server, replica, capacity), capacity, budget_ms)
    return found


@contextmanager
def _running(bundle: Bundle) -> Iterator[tuple[Server, Server]]:
    with (
        tempfile.TemporaryDirectory(prefix="bulkhead-bench-") as scratch,
        servers.ours(bundle, Path(scratch)) as replica,
        servers.envoy(replica, Path(scratch)) as proxy,
        processes.busy(processes.SERVER_CORE, _BESIDE),
    ):
        yield replica, proxy


def _cases(bundle: Bundle, replica: Server) -> list[Case]:
    rows = [case["row"] for case in bundle.golden]
    cases = []
    for size in (1, serving.BATCH):
        bodies = [json.dumps({"rows": [rows[(first + n) % len(rows)] for n in range(size)]}) for first in range(8)]
        requests = generators.encode([closed_loop.request("/predict", body.encode()) for body in bodies])
        cases.append(Case("http", size, requests))
    return [*cases, Case("grpc", 1, serving.grpc_messages(bundle, replica))]


def _capacity(case: Case, replica: Server) -> float:
    """Return requests a second of a saturated replica, on its share of the core."""
    program, port = (generators.GRPC, replica.grpc_port) if case.protocol == "grpc" else (generators.HTTP, replica.port)
    job = Job(port=port, requests=case.requests, server=replica.pid, seconds=_SATURATED_S)
    # 1 / (1 + _BESIDE) of the core, since the kernel shares it equally with the busy programs
    return median([generators.run(program, job).per_core for _ in range(_ROUNDS)]) / (1 + _BESIDE)


def _overloaded(case: Case, server: Server, replica: Server, capacity: float) -> OpenOutcome:
    """Run the load.

    Raises:
        OddOutcomeError: a request was neither answered nor rejected for the overload.
    """
    before = _counts(replica)
    port = server.grpc_port if case.protocol == "grpc" else server.port
    job = OpenJob(
        port=port,
        requests=case.requests,
        server=replica.pid,
        rate=TIMES * capacity,
        seconds=WARM_UP_S + SECONDS,
        warm_up_s=WARM_UP_S,
        protocol=case.protocol,
        max_connections=_CONNECTIONS,
    )
    outcome = open_loop.run(job)
    odd = outcome.latencies_ms.keys() - {_ANSWERED[case.protocol], _REFUSED[case.protocol]}
    odd |= {kind for kind, count in _counts(replica).items() if count > before.get(kind, 0)} - {"ok", "overloaded"}
    if odd or outcome.lost:
        raise OddOutcomeError(
            f"{server.name}: {outcome.lost} lost, unexpected outcomes: {', '.join(sorted(odd)) or 'none'}"
        )
    return outcome


def _counts(replica: Server) -> dict[str, float]:
    """Return requests by outcome, from the replica's metrics."""
    with urllib.request.urlopen(f"http://127.0.0.1:{replica.port}/metrics", timeout=10) as response:
        lines = [line for line in response.read().decode().splitlines() if line.startswith("bulkhead_requests_total{")]
    counts: dict[str, float] = {}
    for line in lines:
        kind = line.partition('outcome="')[2].partition('"')[0]
        counts[kind] = counts.get(kind, 0) + float(line.split()[-1])
    return counts


def _figures(name: str, case: Case, outcome: OpenOutcome, capacity: float, budget_ms: float) -> list[Figure]:
    answered = outcome.latencies_ms.get(_ANSWERED[case.protocol], [])
    refused = outcome.latencies_ms.get(_REFUSED[case.protocol], [])
    asked = f"the capacity, at {outcome.rate / capacity:.1f}× load"
    goodput = len(answered) / outcome.wall_s
    tails = {f"{name}_p99": answered, f"{name}_refused_p99": refused}
    return figures(
        "overload",
        (f"{name}_goodput", goodput, "requests/s", asked, capacity, Bar("≥", 0.9)),
        *(
            (label, percentile(latencies, 0.99), "ms", "the latency budget", budget_ms, Bar("≤", 1))
            for label, latencies in tails.items()
            if latencies
        ),
    )
