"""A simulated fleet: requests, replicas that take time to start, and an autoscaler that is asked at its ticks.

Each request goes to the less loaded of two random replicas, as Envoy's LEAST_REQUEST does, and waits there in turn; each replica serves
one at a time. A replica that is added serves after its start time; one that is removed gets no more and leaves when it is idle.

Source: https://www.envoyproxy.io/docs/envoy/v1.40.0/intro/arch_overview/upstream/load_balancing/load_balancers ; D. V. Lindley, "The
theory of queues with a single server", 1952.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

_POLLS = 10  # of a second: requests in flight are sampled, as of a real Envoy


@dataclass(frozen=True)
class Seen:
    """The readings of an interval that an autoscaler gets."""

    in_flight: tuple[float, ...]  # of each replica that serves, on average
    arrived: int
    answered: int


class Scaler(Protocol):
    """An autoscaler.

    Attributes:
        tick_s: between two decisions.
    """

    tick_s: float

    def decide(self, now: float, seen: Seen, size: int) -> int:
        """Return the wanted number of replicas."""


@dataclass
class Replica:
    """A replica: when it serves, when its last request is answered, its polls since the last tick, and the ends of those in flight."""

    ready_at: float
    ordered_at: float
    free_at: float = 0.0
    polled: int = 0
    ends: deque[float] = field(default_factory=deque)

    def in_flight(self, now: float) -> int:
        """Return the requests in flight."""
        while self.ends and self.ends[0] <= now:
            self.ends.popleft()
        return len(self.ends)


@dataclass(frozen=True)
class Step:
    """A change of size: when, from how many, to how many."""

    at: float
    before: int
    after: int


@dataclass(frozen=True)
class Ran:
    """The outcome of a simulation.

    Attributes:
        latencies: of every answered request, with its time of arrival.
        rejected: times of arrival of those rejected.
        replica_seconds: from a replica's order to its end.
        steps: the changes of size.
        sizes: the size after each tick.
        ready: when each new replica served.
    """

    latencies: list[tuple[float, float]]
    rejected: list[float]
    replica_seconds: float
    steps: list[Step]
    sizes: list[tuple[float, int]]
    ready: list[float]


def simulate(
    arrivals: Iterable[float],
    service_s: Callable[[], float],
    scaler: Scaler,
    *,
    start_s: float,
    size: int,
    most_in_flight: int,
) -> Ran:
    """Run a fleet of `size` replicas at first; a replica with `most_in_flight` requests rejects more."""
    return _Fleet(service_s, scaler, start_s, size, most_in_flight).run(arrivals)


class _Fleet:
    def __init__(self, service_s: Callable[[], float], scaler: Scaler, start_s: float, size: int, most: int) -> None:
        self._service_s, self._scaler, self._start_s, self._most = service_s, scaler, start_s, most
        self._chance = random.Random(1)
        self._replicas = [Replica(0.0, 0.0) for _ in range(size)]
        self._leaving: list[Replica] = []
        self._serving = list(self._replicas)
        self._next_tick, self._next_poll = scaler.tick_s, 1 / _POLLS
        self._polls = 0
        self._arrived = self._refused = self._in_flight_before = 0
        self._paid = 0.0
        self._latencies: list[tuple[float, float]] = []
        self._rejected: list[float] = []
        self._steps: list[Step] = []
        self._sizes: list[tuple[float, int]] = []
        self._ready: list[float] = []

    def run(self, arrivals: Iterable[float]) -> Ran:
        now = 0.0
        for now in arrivals:
            while min(self._next_poll, self._next_tick) <= now:
                self._advance()
            self._arrive(now)
        self._paid += sum(now - each.ordered_at for each in self._replicas)
        self._paid += sum(each.free_at - each.ordered_at for each in self._leaving)
        return Ran(self._latencies, self._rejected, self._paid, self._steps, self._sizes, self._ready)

    def _advance(self) -> None:
        if self._next_poll <= self._next_tick:
            now = self._next_poll
            self._next_poll += 1 / _POLLS
            self._serving = [each for each in self._replicas if each.ready_at <= now]
            self._polls += 1
            for each in self._serving:
                each.polled += each.in_flight(now)
            return
        now = self._next_tick
        self._next_tick += self._scaler.tick_s
        in_flight = sum(each.in_flight(now) for each in [*self._replicas, *self._leaving])
        answered = self._arrived - self._refused - (in_flight - self._in_flight_before)
        seen = Seen(tuple(each.polled / self._polls for each in self._serving), self._arrived, answered)
        self._in_flight_before, self._arrived, self._refused, self._polls = in_flight, 0, 0, 0
        for each in self._replicas:
            each.polled = 0
        self._resize(now, self._scaler.decide(now, seen, len(self._replicas)))

    def _resize(self, now: float, wanted: int) -> None:
        size = len(self._replicas)
        if wanted != size:
            self._steps.append(Step(now, size, wanted))
        for _ in range(size, wanted):
            self._replicas.append(Replica(now + self._start_s, now))
            self._ready.append(now + self._start_s)
        while len(self._replicas) > wanted:
            gone = self._replicas.pop()
            gone.free_at = max(now, gone.free_at)
            self._leaving.append(gone)
        self._serving = [each for each in self._replicas if each.ready_at <= now]
        self._sizes.append((now, len(self._replicas)))
        for each in [each for each in self._leaving if each.free_at <= now]:
            self._leaving.remove(each)
            self._paid += each.free_at - each.ordered_at

    def _arrive(self, now: float) -> None:
        self._arrived += 1
        serving = self._serving
        replica = serving[0]
        if len(serving) > 1:
            first = int(self._chance.random() * len(serving))
            other = serving[first - 1 - int(self._chance.random() * (len(serving) - 1))]
            replica = serving[first]
            if other.in_flight(now) < replica.in_flight(now):
                replica = other
        if replica.in_flight(now) >= self._most:
            self._refused += 1
            self._rejected.append(now)
            return
        replica.free_at = max(now, replica.free_at) + self._service_s()
        replica.ends.append(replica.free_at)
        self._latencies.append((now, replica.free_at - now))


def poisson(rates: Sequence[float], every_s: float, seed: int) -> Iterable[float]:
    """Yield arrival times of a Poisson process whose rate changes `every_s` seconds."""
    chance = random.Random(seed)
    for index, rate in enumerate(rates):
        now = index * every_s
        while rate > 0 and (now := now + chance.expovariate(rate)) < (index + 1) * every_s:
            yield now
