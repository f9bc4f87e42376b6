from __future__ import annotations

import random

import pytest

from benchmarks.measures import percentile
from benchmarks.serving import queues, scaling
from benchmarks.serving.days import departures
from benchmarks.serving.knative import Knative
from benchmarks.serving.queues import Seen


def simulated(rate: float, size: int, service_s: float = 0.01) -> queues.Ran:
    chance = random.Random(1)
    return queues.simulate(
        queues.poisson([rate] * 200, 1.0, seed=2),
        lambda: chance.expovariate(1 / service_s),
        scaling.Fixed(),
        start_s=1.0,
        size=size,
        most_in_flight=1_000_000,
    )


def test_simulated_queue_has_the_mean_latency_of_its_formula() -> None:
    ran = simulated(rate=60, size=1)
    # M/M/1: the service time over the idle share
    mean = sum(took for _, took in ran.latencies) / len(ran.latencies)
    assert mean == pytest.approx(0.01 / (1 - 0.6), rel=0.1)
    assert len(ran.latencies) == pytest.approx(60 * 200, rel=0.05)


def test_two_choices_shorten_queues_of_many_replicas() -> None:
    one, four = (percentile([took for _, took in simulated(80 * size, size).latencies], 0.99) for size in (1, 4))
    assert four < one


def test_replica_seconds_of_a_fixed_fleet_are_its_size_times_the_time() -> None:
    assert simulated(rate=50, size=3).replica_seconds == pytest.approx(3 * 200, rel=0.01)


def test_step_is_absorbed_sooner_than_by_the_peer() -> None:
    capacity, recovered, _ = scaling.step()
    assert capacity.holds
    assert recovered.holds
    assert capacity.value < 4


def test_short_day_is_within_the_budget_and_cheaper_than_the_peer() -> None:
    rates = scaling.rates_of_day(96)
    mine, peer = (scaling.simulated(rates, scaler, 1.5) for scaler in (scaling.ours(), scaling.knative()))
    assert mine.replica_seconds < peer.replica_seconds
    # At this pace every quarter of an hour lasts ten seconds, so the bar of replica-seconds is not meant.
    assert mine.replica_seconds < 2 * scaling.least_replica_seconds(rates)
    late = sum(took > 0.5 for _, took in mine.latencies)
    assert late < sum(took > 0.5 for _, took in peer.latencies)


def test_departures_have_a_quiet_night_and_a_busy_day() -> None:
    curve = departures()
    assert len(curve) == 1440
    assert max(curve) == 1
    assert curve[3 * 60] < 0.01 < 0.3 < curve[12 * 60]


def test_peer_panics_at_twice_the_pods_and_removes_none_while_it_does() -> None:
    # By hand, from the defaults: 6 s of panic window are three ticks of 2 s.
    peer = Knative(target=2.0, least=1, most=50)
    for tick in range(30):
        assert peer.decide(2.0 * tick, Seen((2.0, 2.0), 0, 0), 2) == 2
    assert peer.decide(60.0, Seen((20.0, 20.0), 0, 0), 2) == 8  # (4 + 4 + 40) / 3 in flight, two a pod
    assert peer.decide(62.0, Seen((1.0,) * 8, 0, 0), 8) == 9  # (4 + 40 + 8) / 3
    for tick in range(32, 61):
        assert peer.decide(2.0 * tick, Seen((0.0,) * 9, 0, 0), 9) == 9
    assert peer.decide(124.0, Seen((0.0,) * 9, 0, 0), 9) == 4  # at most halved
