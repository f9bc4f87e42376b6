"""Tail latency at half of a replica's capacity, beside nginx's, which answers a constant under the same load."""

from __future__ import annotations

from statistics import median

from benchmarks.measures import percentile
from benchmarks.results import COMMAND, Bar, Figure, figure
from benchmarks.serving import replica as serving
from benchmarks.serving.peer_servers import NGINX, NGINX_PROGRAM, STARTERS
from harness import servers
from harness.bundles import Bundle
from harness.load import open_loop
from harness.load.open_loop import OpenJob, OpenOutcome
from harness.servers import OURS, Server

NAME = "half_load"
SECONDS = 5.0
_FACTOR, _ADDED_MS = 2.0, 2.0  # the bar: this multiple of nginx's, plus this many ms


class OddOutcomeError(Exception):
    """A request at half load was lost or rejected."""


def half_load(bundle: Bundle) -> list[Figure]:
    """Return the 99th percentile over open-loop arrivals, the median of the rounds; ours alone if nginx is not installed."""
    names = [OURS, NGINX] if NGINX_PROGRAM else [OURS]
    with servers.running(bundle, names, STARTERS) as started:
        target = serving.http_target(bundle, started[OURS])
        saturated = [target.measure(seconds=serving.SATURATED_S) for _ in range(serving.ROUNDS)]
        capacity = median([outcome.completed / outcome.wall_s for outcome in saturated])
        tails: dict[str, list[float]] = {name: [] for name in names}
        for _ in range(serving.ROUNDS):
            for name in names:
                tails[name].append(p99_ms(name, _loaded(started[name], target.requests, capacity / 2)))
    ours = median(tails[OURS])
    if not NGINX_PROGRAM:
        command = f"{COMMAND} {NAME}"
        return [Figure("http_p99_at_half", ours, "ms", "nginx is not installed: left out", None, None, None, command)]
    limit = median(tails[NGINX])
    bar = Bar("≤", _FACTOR * limit + _ADDED_MS, of="value")
    return [figure("http_p99_at_half", ours, "ms", peer=NGINX, peer_value=limit, bar=bar, benchmark=NAME)]


def _loaded(server: Server, requests: tuple[str, ...], rate: float) -> OpenOutcome:
    return open_loop.run(OpenJob(port=server.port, requests=requests, server=server.pid, rate=rate, seconds=SECONDS))


def p99_ms(name: str, outcome: OpenOutcome) -> float:
    """Return the 99th percentile of latencies from each request's due time.

    Raises:
        OddOutcomeError: not each was answered with 200.
    """
    if outcome.lost or outcome.latencies_ms.keys() != {"200"}:
        counts = {kind: len(times) for kind, times in outcome.latencies_ms.items()}
        raise OddOutcomeError(f"{name} at half load: {outcome.lost} requests lost, answers by status: {counts}")
    return percentile(outcome.latencies_ms["200"], 0.99)
