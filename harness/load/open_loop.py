"""Open-loop load: requests are sent at their scheduled times, whether or not the server keeps up.

python -m harness.load.open_loop < job.json      (standard library only)

Arrivals are a Poisson process of one seed. A latency counts from the time at which a request was due, so waiting for a connection, or for
this program, counts against the server (coordinated omission; source: G. Tene, "How NOT to Measure Latency", 2015).
"""

from __future__ import annotations

import json
import random
import select
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field

from harness import processes
from harness.load import generators
from harness.load.wires import Connection, GrpcConnection, HttpConnection, LostConnectionError

_CONNECTIONS: Mapping[str, Callable[[int], Connection]] = {"http": HttpConnection, "grpc": GrpcConnection}
_IDLE_S = 3.0
_PATIENCE_S = 5.0  # without anything sent or received


@dataclass(frozen=True)
class OpenJob:
    """The job of an open-loop run.

    Attributes:
        requests: complete requests (for HTTP) or messages of ModelInfer (for gRPC), base64; sent in turn.
        server: process id of the server, whose tree's CPU time is read around the run.
        rate: requests a second, on average.
        seconds: length of the run; then no more is sent.
        warm_up_s: the part of it in which connections are opened; outcomes of its requests do not count, except lost ones.
        protocol: `http` or `grpc`.
        max_connections: a request that finds all of them busy waits for one.
        core: to run on.
    """

    port: int
    requests: tuple[str, ...]
    server: int
    rate: float
    seconds: float
    protocol: str = "http"
    max_connections: int = 1024
    core: int = processes.LOAD_CORE
    seed: int = 1
    warm_up_s: float = 0.0


@dataclass(frozen=True)
class OpenOutcome:
    """The outcomes of the requests of a run.

    Attributes:
        latencies_ms: by outcome (an HTTP status; `OK` or `refused` of gRPC), from each request's due time.
        sent: requests due within the run, after its warm-up.
        lost: those without an answer: the connection broke, or nothing at all arrived for 5 s.
        wall_s: from the end of the warm-up until the last request was sent: longer than `seconds` where the generator or the connections
            did not suffice.
        cpu_s: CPU time that the server's process tree used until the last answer, in the warm-up too.
        connections: number opened.
    """

    latencies_ms: dict[str, list[float]] = field(default_factory=dict)
    sent: int = 0
    lost: int = 0
    wall_s: float = 0.0
    cpu_s: float = 0.0
    connections: int = 0

    def count(self, outcome: str) -> int:
        """Return the number of requests with an outcome."""
        return len(self.latencies_ms.get(outcome, ()))

    @property
    def rate(self) -> float:
        """The requests sent a second, not only due."""
        return self.sent / self.wall_s


def arrivals(rate: float, seconds: float, seed: int) -> list[float]:
    """Return times of a Poisson process, in seconds from its start."""
    chance = random.Random(seed)
    times = []
    now = chance.expovariate(rate)
    while now < seconds:
        times.append(now)
        now += chance.expovariate(rate)
    return times


class OpenLoad:
    """One run: a clock, connections opened on demand, and the outcome of each request.

    Attributes:
        refused: requests for which no connection could be opened; not among the lost ones.
        losses: of each lost request whose connection broke, when the last request was sent on it, and when its end was seen
            (`time.perf_counter`).
    """

    def __init__(self, connect: Callable[[], Connection], payloads: list[bytes], max_connections: int) -> None:
        self._connect = connect
        self._payloads = payloads
        self._max_connections = max_connections
        self._poll = select.epoll()
        self._open: dict[int, Connection] = {}
        self._free: list[Connection] = []
        self._used: dict[Connection, float] = {}
        self.outcomes: dict[str, list[float]] = {}
        self._sent = 0
        self.sent_s = self._moved_s = 0.0
        self.lost = self.refused = 0
        self.losses: list[tuple[float, float]] = []
        self.connections = 0
        self.counted_from_s = 0.0

    def run(self, times: list[float]) -> None:
        """Send a request at each of these times; return when all have an outcome, or nothing has come for `_PATIENCE_S`."""
        due: deque[float] = deque()
        began = time.perf_counter()
        index, pending = 0, len(times)
        while pending:
            now = time.perf_counter() - began
            if now > max(self._moved_s, times[-1]) + _PATIENCE_S:
                self.lost += pending
                break
            while index < len(times) and times[index] <= now:
                due.append(times[index])
                index += 1
            try:
                while due and (connection := self._next_free(now)):
                    self._send(connection, due.popleft(), began)
            except ConnectionError:
                due.popleft()
                self.refused += 1
                pending -= 1
            wait = max(0.0, times[index] - now) if index < len(times) and not due else 0.01
            # epoll waits whole milliseconds, rounded up, so a shorter wait is a busy one.
            for number, _ in self._poll.poll(0.0 if wait < 0.001 else wait):
                pending -= self._receive(number, began)
        for connection in self._open.values():
            connection.socket.close()
        self._poll.close()

    def _next_free(self, now: float) -> Connection | None:
        """Return the connection used last, as pools do; a new one if all are busy and the limit allows it."""
        if self._free and now - self._used.get(self._free[-1], now) > _IDLE_S:
            self._let_go()
        if self._free:
            return self._free[-1]
        if len(self._open) >= self._max_connections:
            return None
        connection = self._connect()
        self.connections += 1
        number = connection.socket.fileno()
        self._open[number] = connection
        self._poll.register(number, select.EPOLLIN)
        self._free.append(connection)
        return connection

    def _let_go(self) -> None:
        """Close connections idle for longer than servers keep them, as pools do: a request on one might find it closed."""
        for connection in self._free:
            self._close(connection.socket.fileno())
        self._free.clear()

    def _close(self, number: int) -> None:
        connection = self._open.pop(number)
        self._used.pop(connection, None)
        self._poll.unregister(number)
        connection.socket.close()

    def _send(self, connection: Connection, intended: float, began: float) -> None:
        payload = self._payloads[self._sent % len(self._payloads)]
        self._sent += 1
        self.sent_s = self._moved_s = time.perf_counter() - began
        self._used[connection] = self.sent_s
        connection.send(payload, intended)
        if not connection.is_free:
            self._free.pop()

    def _receive(self, number: int, began: float) -> int:
        """Return the number of requests that got their outcome by the data received on a connection."""
        connection = self._open[number]
        was_free = connection.is_free
        try:
            done = connection.receive()
        except LostConnectionError as error:
            self.lost += error.requests
            self.losses += [(began + self._used.get(connection, 0.0), time.perf_counter())] * error.requests
            self._close(number)
            if was_free:
                self._free.remove(connection)
            return error.requests
        now = self._moved_s = time.perf_counter() - began
        for intended, outcome in done:
            if intended < self.counted_from_s:
                continue
            self.outcomes.setdefault(outcome, []).append((now - intended) * 1000)
        if connection.is_free and not was_free:
            self._free.append(connection)
        elif was_free and not connection.is_free:  # the server ends it
            self._free.remove(connection)
        return len(done)


def measure(job: OpenJob, payloads: list[bytes]) -> OpenOutcome:
    """Run a job on this process's core and return its outcome."""
    times = arrivals(job.rate, job.seconds, job.seed)
    generator = OpenLoad(lambda: _CONNECTIONS[job.protocol](job.port), payloads, job.max_connections)
    generator.counted_from_s = job.warm_up_s
    before = processes.cpu_seconds(job.server)
    generator.run(times)
    return OpenOutcome(
        latencies_ms=generator.outcomes,
        sent=len([each for each in times if each >= job.warm_up_s]),
        lost=generator.lost,
        wall_s=max(job.seconds, generator.sent_s) - job.warm_up_s,
        cpu_s=processes.cpu_seconds(job.server) - before,
        connections=generator.connections,
    )


def run(job: OpenJob) -> OpenOutcome:
    """Run this program on its core.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    return OpenOutcome(**generators.ask(sys.executable, "harness.load.open_loop", job))


def main() -> None:
    """Run the job read from standard input and print its outcome."""
    job = OpenJob(**json.loads(sys.stdin.read()))
    processes.pin(job.core)
    print(json.dumps(asdict(measure(job, generators.decode(job.requests)))))


if __name__ == "__main__":
    main()
