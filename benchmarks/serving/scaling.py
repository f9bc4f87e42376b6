"""Scaling: a step of ten times, and a day's curve; the fleet's autoscaler beside Knative's, in the same simulated fleet.

Service times are exponential, as long as those of many rows. The least replicas of a day are those of an operator who knows each second's
load beforehand and whose replicas start at once: the fewest whose 99th percentile is within the latency budget.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from benchmarks.measures import percentile
from benchmarks.results import Bar, Figure, figures
from benchmarks.serving import days, queues
from benchmarks.serving.knative import Knative
from benchmarks.serving.queues import Ran, Scaler, Seen
from benchmarks.serving.real_step import real_step
from contract.bundle.limits import Limits
from fleet.scaling.autoscaler import TICK_S, Autoscaler, Policy, Sample
from harness.bundles import Bundle

NAME = "scaling"
_PEER = "Knative's autoscaler"
_SERVICE_S = 0.01
_BUDGET_S = Limits.latency_budget_s
_START_S = 1.5  # of a replica
_SHORTEST_START_S = 0.5
_LEAST, _MOST = 2, 16
_UNLIMITED = 1_000_000  # requests wait, as in Knative's activator
_BEFORE_S, _AFTER_S = 60, 120
_BEFORE_LOAD = 0.8  # busy replicas, before the step
TIMES = 10
_FASTER = 12  # than a real day: loads change so much faster, and reactions cost so much more of the whole
_DAY_LOAD = 8.0  # busy replicas in the busiest minute
_BURST = 1.5
_BURST_S = (10, 60)
_BURST_EVERY_S = 300
_UTILIZATIONS = (0.98, 0.95, 0.9, 0.85, 0.8, 0.7)
_STEADY_S = 300


@dataclass
class Ours:
    """The fleet's autoscaler as a scaler of the simulated fleet."""

    policy: Policy
    tick_s: float = TICK_S
    autoscaler: Autoscaler = field(init=False)

    def __post_init__(self) -> None:
        self.autoscaler = Autoscaler(self.policy)

    def decide(self, now: float, seen: Seen, size: int) -> int:
        """Return the wanted number of replicas."""
        return self.autoscaler.decide(now, Sample(seen.in_flight, seen.arrived, seen.answered), size).replicas


@dataclass
class Fixed:
    """A fleet that nobody scales."""

    tick_s: float = 1e9

    def decide(self, now: float, seen: Seen, size: int) -> int:
        """Return the present number."""
        del now, seen
        return size


def scaling(bundle: Bundle) -> list[Figure]:
    """Return the figures of the real step, of the simulated ones with the start time of the real, and of the day."""
    real = real_step(bundle, TIMES)
    start_s = max(real.capacity_s - 2 * TICK_S, _SHORTEST_START_S) if math.isfinite(real.capacity_s) else _START_S
    found = figures(
        NAME,
        ("scaling_fleet_capacity", real.capacity_s, "s", "Knative's bar of a step", 10.0, Bar("≤", 4, of="value")),
        ("scaling_fleet_failed", real.failed, "requests", "asked", real.asked, Bar("≤", 0, of="value")),
        ("scaling_fleet_p99", real.p99_ms, "ms", "the latency budget", 1000 * _BUDGET_S, Bar("≤", 1)),
    )
    return [*found, *step(start_s), *day()]


def ours() -> Ours:
    """Return the fleet's autoscaler with its defaults."""
    return Ours(Policy(_LEAST, _MOST))


def knative() -> Knative:
    """Return the peer with the same target and bounds."""
    return Knative(Policy(_LEAST, _MOST).in_flight, _LEAST, _MOST)


def step(start_s: float = _START_S) -> list[Figure]:
    """Return when new capacity serves after a step, and when requests are within the budget again, beside the peer's times."""
    rates = [_BEFORE_LOAD / _SERVICE_S] * _BEFORE_S + [TIMES * _BEFORE_LOAD / _SERVICE_S] * _AFTER_S
    mine, peer = (simulated(rates, scaler, start_s) for scaler in (ours(), knative()))
    return figures(
        NAME,
        ("scaling_step_capacity", new_capacity_s(mine), "s", _PEER, new_capacity_s(peer), Bar("≤", 4, of="value")),
        ("scaling_step_recovered", recovered_s(mine), "s", _PEER, recovered_s(peer), Bar("≤", 1)),
        ("scaling_step_replica_seconds", mine.replica_seconds, "s", _PEER, peer.replica_seconds, None),
    )


def day() -> list[Figure]:
    """Return the replica-seconds of a day beside the least and the peer's, and its 99th percentile beside the budget."""
    rates = rates_of_day(_FASTER)
    mine, peer = (simulated(rates, scaler, _START_S) for scaler in (ours(), knative()))
    least = least_replica_seconds(rates)
    p99_ms, other_ms = (1000 * percentile([took for _, took in each.latencies], 0.99) for each in (mine, peer))
    return figures(
        NAME,
        ("scaling_day_replica_seconds", mine.replica_seconds, "s", "the least", least, Bar("≤", 1.25)),
        ("scaling_day_p99", p99_ms, "ms", "the latency budget", 1000 * _BUDGET_S, Bar("≤", 1)),
        ("scaling_day_knative", mine.replica_seconds, "s", _PEER, peer.replica_seconds, None),
        ("scaling_day_knative_p99", p99_ms, "ms", _PEER, other_ms, None),
    )


def simulated(rates: Sequence[float], scaler: Scaler, start_s: float, size: int = _LEAST) -> Ran:
    """Run the simulated fleet under arrivals at these rates, one a second; the same arrivals for each scaler."""
    return queues.simulate(
        queues.poisson(rates, 1.0, seed=5),
        service_times(),
        scaler,
        start_s=start_s,
        size=size,
        most_in_flight=_UNLIMITED,
    )


def service_times() -> Callable[[], float]:
    """Return a source of exponential service times."""
    chance = random.Random(9)
    return lambda: chance.expovariate(1 / _SERVICE_S)


def new_capacity_s(ran: Ran) -> float:
    """Return the time from the step until the first new replica serves; infinite if none does."""
    return min((at - _BEFORE_S for at in ran.ready if at > _BEFORE_S), default=float("inf"))


def recovered_s(ran: Ran) -> float:
    """Return the time from the step until the last request that was answered too late."""
    return max((at - _BEFORE_S for at, took in ran.latencies if took > _BUDGET_S), default=0.0)


def rates_of_day(faster: int) -> list[float]:
    """Return a day's rates, second by second, `faster` times as fast, with bursts."""
    chance = random.Random(3)
    curve = days.departures()
    seconds = 86400 // faster
    rates = [curve[second * faster // 60 % days.MINUTES] * _DAY_LOAD / _SERVICE_S for second in range(seconds)]
    bursts: set[int] = set()
    for _ in range(seconds // _BURST_EVERY_S):
        start = chance.randrange(seconds)
        bursts.update(range(start, start + chance.randint(*_BURST_S)))
    return [rate * (_BURST if second in bursts else 1) for second, rate in enumerate(rates)]


def least_replica_seconds(rates: Sequence[float]) -> float:
    """Return the sum over the seconds of the fewest replicas that hold the budget."""
    utilization = {size: _utilization(size) for size in (1, 2, 4, 8)}

    def least(rate: float) -> int:
        """Return the fewest replicas for a rate; a size that was not tried can as much as the next smaller one that was."""
        size = _LEAST
        while rate * _SERVICE_S > size * utilization[max(each for each in utilization if each <= size)]:
            size += 1
        return size

    return float(sum(map(least, rates)))


def _utilization(size: int) -> float:
    """Return the highest utilization at which so many replicas hold the budget."""
    for utilization in _UTILIZATIONS:
        ran = simulated([utilization * size / _SERVICE_S] * _STEADY_S, Fixed(), _START_S, size)
        if percentile([took for _, took in ran.latencies], 0.99) <= _BUDGET_S:
            return utilization
    return _UTILIZATIONS[-1]
