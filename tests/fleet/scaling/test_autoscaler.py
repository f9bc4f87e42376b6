from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest

from fleet.scaling.autoscaler import TICK_S, Autoscaler, Decision, Policy, Sample, busy_share

POLICY = Policy(least=2, most=8, in_flight=1.0)  # a replica is to be busy half of the time


def sample(load: float, size: int) -> Sample:
    """So much load, in busy replicas, on that many replicas; a busy one answers 500 requests in a tick."""
    share = min(load / size, 0.99)
    return Sample((share / (1 - share),) * size, int(500 * load), int(500 * share * size))


class Course:
    """An autoscaler that is obeyed at once, tick by tick."""

    def __init__(self, size: int = 2, policy: Policy = POLICY) -> None:
        self.autoscaler, self.size, self.now = Autoscaler(policy), size, 1000.0

    def tick(self, seen: Sample | None) -> Decision:
        decision = self.autoscaler.decide(self.now, seen, self.size)
        self.now += TICK_S
        self.size = decision.replicas
        return decision

    def run(self, seconds: float, seen: Callable[[int], Sample | None]) -> list[int]:
        return [self.tick(seen(self.size)).replicas for _ in range(int(seconds / TICK_S))]


@pytest.mark.parametrize(("utilization", "in_flight"), [(0.5, 1.0), (0.75, 3.0), (0.9, 9.0), (0.0, 0.0)])
def test_busy_share_is_the_utilization_of_a_queue_with_that_many_requests(utilization: float, in_flight: float) -> None:
    # M/M/1, by its balance equations: P(n) = (1 - ρ) ρ^n
    mean = sum(n * (1 - utilization) * utilization**n for n in range(2000))
    assert mean == pytest.approx(in_flight)
    assert busy_share(in_flight) == pytest.approx(utilization)


def test_size_follows_a_load_that_lasts() -> None:
    course = Course(2)
    course.run(60, lambda size: sample(2.4, size))
    assert course.size == 5  # 2.4 busy replicas at half of the time each, rounded up


def test_step_of_ten_times_is_sized_in_one_decision_when_two_ticks_have_seen_it() -> None:
    course = Course(2, Policy(2, 16, in_flight=1.0))
    course.run(60, lambda size: sample(0.6, size))
    overloaded = Sample(
        (60.0, 60.0), arrived=3000, answered=1000
    )  # 6 replicas' worth arrives, 2 answer all that they can
    assert course.tick(overloaded).replicas == 2
    decision = course.tick(overloaded)
    assert decision.replicas == 12
    assert decision.reason.startswith("panic")


def test_first_interval_of_a_step_does_not_size_it_when_the_step_began_in_its_middle() -> None:
    course = Course(2, Policy(2, 16, in_flight=1.0))
    course.run(60, lambda size: sample(0.6, size))
    course.tick(Sample((30.0, 30.0), arrived=1500, answered=1000))
    assert course.tick(Sample((60.0, 60.0), arrived=3000, answered=1000)).replicas == 12


def test_long_queue_of_one_replica_is_not_counted_as_busy_replicas() -> None:
    draining = Sample((500.0, 0.5, 0.5, 0.5), arrived=100, answered=300, polls=1_000_000)
    assert draining.busy == pytest.approx(1 + 3 * 0.5 / 1.5, abs=0.01)
    assert draining.certain_load == pytest.approx(draining.busy, rel=0.01)


def test_request_longer_than_an_interval_is_no_overload() -> None:
    course = Course(2)
    course.run(60, lambda size: Sample((0.0,) * size, 0, 0))
    for _ in range(20):
        for arrived, answered in ((1, 0), (0, 0), (0, 1)):
            assert course.tick(Sample((1.0, 0.0), arrived, answered)).replicas == 2


def test_single_polls_that_meet_a_short_request_are_no_panic_when_the_target_is_low() -> None:
    course = Course(2, Policy(2, 8, in_flight=0.05))
    # Fifteen requests of 2 ms in half a second: 0.06 in flight, which most polls do not see.
    course.run(60, lambda size: Sample((0.06 / size,) * size, 15, 15))
    assert course.run(5, lambda size: Sample((0.2,) + (0.0,) * (size - 1), 15, 15)) == [2] * 10


def test_slower_requests_are_a_panic_when_the_polls_are_certain_of_them() -> None:
    course = Course(2)
    course.run(60, lambda size: Sample((0.5,) * size, 100, 100))
    course.tick(Sample((40.0, 40.0), 100, 95))
    decision = course.tick(Sample((40.0, 40.0), 100, 95))
    assert decision.panic
    assert decision.replicas == 4


def test_growth_of_one_decision_is_limited_when_nothing_is_answered() -> None:
    hung = Sample((128.0, 128.0), arrived=5000, answered=0, polls=1_000_000)
    assert hung.certain_load == pytest.approx(20, rel=0.01)
    course = Course(2, Policy(2, 60, in_flight=1.0))
    course.run(60, lambda size: sample(0.6, size))
    course.tick(hung)
    assert course.tick(hung).replicas <= 40


def test_single_noisy_tick_changes_nothing() -> None:
    course = Course(3)
    course.run(60, lambda size: sample(1.5, size))
    before = course.size
    assert course.tick(sample(before, before)).replicas == before
    assert course.run(60, lambda size: sample(1.5, size)) == [before] * 120


def test_replicas_are_removed_only_when_no_tick_of_the_hold_time_needed_more() -> None:
    course = Course(2)
    course.run(60, lambda size: sample(3.0, size))
    assert course.size == 6
    sizes = course.run(POLICY.hold_s + POLICY.stable_s + 5, lambda size: sample(0.5, size))
    # The stable window needs its time to forget the load, and the hold time follows.
    assert sizes[: int(POLICY.hold_s / TICK_S)] == [6] * int(POLICY.hold_s / TICK_S)
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] == 2


def test_size_stays_within_its_bounds() -> None:
    course = Course(2)
    assert max(course.run(30, lambda size: Sample((128.0,) * size, 9000, 100))) == 8
    assert course.tick(Sample((128.0,) * 8, 9000, 100)).reason.endswith("bounds are 2 and 8")
    assert min(course.run(300, lambda size: Sample((0.0,) * size, 0, 0))) == 2


@pytest.mark.parametrize(("size", "bounded"), [(1, 2), (12, 8), (5, 5)])
def test_size_outside_the_bounds_is_brought_inside_when_metrics_are_missing(size: int, bounded: int) -> None:
    assert Course(size).tick(None).replicas == bounded


@pytest.mark.parametrize("missing", [None, Sample((), 0, 0)])
def test_missing_metrics_hold_the_size_and_never_count_as_no_load(missing: Sample | None) -> None:
    course = Course(2)
    course.run(60, lambda size: sample(3.0, size))
    assert course.size == 6
    assert course.run(300, lambda _: missing) == [6] * 600
    assert course.tick(missing).reason == "metrics are missing: held"
    # Nor are replicas removed as soon as metrics are back: the gap counts as if they had been needed.
    assert course.run(POLICY.hold_s - 1, lambda size: sample(0.5, size))[-1] == 6
    course.run(POLICY.hold_s + POLICY.stable_s, lambda size: sample(0.5, size))
    assert course.size == 2


def test_one_missing_tick_between_two_of_panic_does_not_join_them() -> None:
    course = Course(2)
    course.run(60, lambda size: sample(0.6, size))
    overloaded = Sample((60.0, 60.0), arrived=3000, answered=1000)
    sizes = [course.tick(seen).replicas for seen in (overloaded, None, overloaded)]
    assert sizes[:2] == [2, 2]
    assert sizes[2] < 8
    assert course.tick(overloaded).replicas == 8


def test_new_autoscaler_removes_no_replica_before_it_has_seen_a_window() -> None:
    course = Course(6)
    assert course.run(POLICY.hold_s - 1, lambda size: sample(0.2, size)) == [6] * int((POLICY.hold_s - 1) / TICK_S)
    course.run(POLICY.stable_s, lambda size: sample(0.2, size))
    assert course.size == 2


@pytest.mark.parametrize("load", [1.0, 1.9, 2.05, 3.3])
def test_size_does_not_flap_under_a_steady_load_with_the_noise_of_sampling(load: float) -> None:
    chance = random.Random(7)

    def noisy(size: int) -> Sample:
        share = min(load / size, 0.95)
        # The mean of five polls of a geometric number, each for itself.
        polled = [sum(int(chance.expovariate(-math.log(share))) for _ in range(5)) / 5 for _ in range(size)]
        return Sample(tuple(polled), 1000 + chance.randrange(-30, 30), 1000)

    course = Course(2, Policy(2, 12))
    course.run(120, noisy)
    assert len(set(course.run(1200, noisy))) == 1  # in twenty minutes
