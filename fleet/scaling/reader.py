"""Samples of the load from Envoy: requests in flight of each replica, polled between ticks, and counters of requests.

Requests of some milliseconds come and go between two polls. The error of a mean of `n` polls of a queue with `l` in flight is about
`sqrt(l * (1 + l) / n)`: ten polls a second, over the stable window and all replicas, make it small (docs/explanation/scaling.md has the
figures). Counters have no such error: they say how much of the arriving load is answered.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from fleet.envoy.clusters import PROTOCOLS, cluster_name
from fleet.envoy.proxy import Hosts
from fleet.scaling.autoscaler import Sample
from fleet.supervisor import unix_http

POLL_S = 0.1
_COUNTERS = re.compile(
    r"(?:http\.(?:http|grpc)\.downstream_rq_(total|completed|5xx)|server\.(hot_restart_epoch)): (\d+)"
)


class Source(Protocol):
    """The running Envoy, as far as samples need it."""

    def hosts(self) -> Hosts:
        """Return every endpoint, by cluster and path."""

    def counters(self) -> str:
        """Return the counters of requests of callers, a line each, such as `http.http.downstream_rq_total: 12`."""


@dataclass(frozen=True, slots=True)
class Counters:
    """Requests of callers since an Envoy of that epoch has started."""

    epoch: int
    total: int
    completed: int
    failed: int

    @classmethod
    def parse(cls, text: str) -> Counters:
        """Return the sums over both protocols.

        Raises:
            ValueError: they are not there.
        """
        found: dict[str, int] = {}
        for counter, epoch, value in _COUNTERS.findall(text):
            found[counter or epoch] = found.get(counter or epoch, 0) + int(value)
        if len(found) != 4:
            raise ValueError(f"Envoy's counters lack some: {text[:200]!r}")
        return cls(found["hot_restart_epoch"], found["total"], found["completed"], found["5xx"])

    def follow(self, before: Counters) -> bool:
        """Tell whether these count on from earlier ones; they do not where another Envoy has begun."""
        grown = self.total >= before.total and self.completed >= before.completed and self.failed >= before.failed
        return self.epoch == before.epoch and grown


class Reader:
    """Polls Envoy from a thread of its own while it is open, and makes a sample at each `take`.

    Attributes:
        polled: set once the thread has polled.
    """

    def __init__(self, source: Source, clock: Callable[[], float] = time.monotonic) -> None:
        self._source, self._clock = source, clock
        self._taken_at = clock()
        self._clusters: frozenset[str] = frozenset()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self.polled = threading.Event()
        self._thread: threading.Thread | None = None
        self._sums: dict[str, int] = {}
        self._polls: dict[str, int] = {}
        self._missed = False
        self._before: Counters | None = None

    def watch(self, digests: Iterable[str]) -> None:
        """Count the replicas of these bundles from now on; not a shadow's, since its requests are copies."""
        self._clusters = frozenset(cluster_name(protocol, digest) for digest in digests for protocol in PROTOCOLS)

    def open(self, digests: Iterable[str]) -> None:
        """Watch these bundles and poll, unless it polls already."""
        self.watch(digests)
        if self._thread is None:
            self._stop.clear()
            self._thread = threading.Thread(target=self._run, name="scaling", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Stop polling."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        self._thread, self._before = None, None
        self._sums, self._polls = {}, {}

    def poll(self) -> None:
        """Count the requests in flight of every replica that gets requests."""
        try:
            hosts = self._source.hosts()
        except (*unix_http.FAILURES, ValueError, KeyError):
            with self._lock:
                self._missed = True
            return
        with self._lock:
            for name, in_flight in _in_flight(hosts, self._clusters).items():
                self._sums[name] = self._sums.get(name, 0) + in_flight
                self._polls[name] = self._polls.get(name, 0) + 1

    def take(self) -> Sample | None:
        """Return the sample since the last call; None where Envoy did not answer, or another Envoy has taken over meanwhile."""
        with self._lock:
            sums, polls, missed = self._sums, self._polls, self._missed
            self._sums, self._polls, self._missed = {}, {}, False
        before, at, self._taken_at = self._before, self._taken_at, self._clock()
        seconds = max(self._taken_at - at, POLL_S)
        try:
            self._before = now = Counters.parse(self._source.counters())
        except (*unix_http.FAILURES, ValueError):
            self._before = None
            return None
        if missed or before is None or not now.follow(before):
            return None
        answered = (now.completed - now.failed) - (before.completed - before.failed)
        means = tuple(sums[name] / polls[name] for name in sorted(sums))
        return Sample(means, now.total - before.total, max(answered, 0), seconds, max(polls.values(), default=0))

    def _run(self) -> None:
        while not self._stop.wait(POLL_S):
            self.poll()
            self.polled.set()


def _in_flight(hosts: Hosts, clusters: frozenset[str]) -> Mapping[str, int]:
    """Return the requests in flight, over both protocols, of the replicas of these clusters that get requests."""
    # A replica has a socket of each protocol: `<replica>.http` and `<replica>.grpc`.
    ours = [(Path(path).stem, host) for (cluster, path), host in hosts.items() if cluster in clusters]
    out = {name for name, host in ours if not host.gets_requests}
    found: dict[str, int] = {}
    for name, host in ours:
        if name not in out:
            found[name] = found.get(name, 0) + host.active_requests
    return found
