"""Admission control on a simulated event loop: no time is measured, so what it decides is the same on every machine."""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from bentos.errors import DeadlineError, OverloadedError
from bentos.guards.admission import Admission
from bentos.monitoring.metrics import Metrics

BUDGET_S = 0.2
ROW = 250  # bytes


@dataclass
class Loop:
    """A thread that polls, and handles all that has come by then before it polls again. Requests are (arrival, size, cost)."""

    refusal_s: float = 0.0
    parse_s: float = 0.0
    now: float = 100.0
    answered: list[float] = field(default_factory=list)  # latencies
    sizes: list[int] = field(default_factory=list)  # of the answered ones
    refused: list[float] = field(default_factory=list)
    soon: list[Callable[[], None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.admission = Admission(BUDGET_S, Metrics("v"))
        self.admission.clock = lambda: self.now
        self.admission.call_soon = self.soon.append

    def run(self, requests: Iterator[tuple[float, int, float]], until: float) -> None:
        waiting = next(requests)
        while self.now < until:
            self.now = max(self.now, waiting[0])
            began, round_ = self.now, []
            while waiting[0] <= began:
                round_.append(waiting)
                waiting = next(requests)
            for request in round_:
                self.handle(*request)
            self.end_round()

    def handle(self, arrival: float, size: int, cost: float, timeout_s: float = math.inf) -> None:
        self.now += self.parse_s
        if self.admission.refuses(size):
            self._refuse(arrival)
            return
        try:
            self.admission.admit(size, self.now, timeout_s)
        except (OverloadedError, DeadlineError):
            self._refuse(arrival)
            return
        self.now += cost
        self.admission.done()
        self.answered.append(self.now - arrival)
        self.sizes.append(size)

    def end_round(self) -> None:
        soon, self.soon[:] = list(self.soon), []
        for call in soon:
            call()

    def _refuse(self, arrival: float) -> None:
        self.now += self.refusal_s
        self.refused.append(self.now - arrival)


def poisson(rate: float, size: int, cost: float, start: float = 100.0) -> Iterator[tuple[float, int, float]]:
    chance = random.Random(1)
    arrival = start
    while True:
        arrival += chance.expovariate(rate)
        yield arrival, size, cost


def p99(sample: list[float]) -> float:
    return sorted(sample)[int(0.99 * len(sample))]


@pytest.mark.parametrize(("cost", "refusal"), [(200e-6, 4e-6), (2e-3, 20e-6), (30e-3, 100e-6)])
def test_three_times_the_capacity_leaves_nine_tenths_of_it_within_the_budget(cost: float, refusal: float) -> None:
    loop = Loop(refusal_s=refusal)
    loop.run(poisson(3 / cost, ROW, cost), until=120)
    capacity = 20 / cost
    assert len(loop.answered) >= 0.9 * capacity
    assert p99(loop.answered) <= BUDGET_S
    assert p99(loop.refused) <= BUDGET_S
    assert len(loop.answered) + len(loop.refused) >= 2.9 * capacity


def test_costly_refusals_take_what_they_cost_and_no_more() -> None:
    cost, share = 200e-6, 0.1
    loop = Loop(refusal_s=share * cost)
    loop.run(poisson(3 / cost, ROW, cost), until=120)
    most = (1 - 3 * share) / (1 - share)  # what is left of the thread when all others have been refused
    assert len(loop.answered) / (20 / cost) == pytest.approx(most, rel=0.03)
    assert p99(loop.answered) <= BUDGET_S


@pytest.mark.parametrize("load", [0.3, 0.8, 0.95])
def test_nothing_is_refused_below_the_capacity(load: float) -> None:
    loop = Loop()
    loop.run(poisson(load / 1e-3, ROW, 1e-3), until=120)
    assert not loop.refused


def test_burst_is_taken_in_if_the_budget_allows_for_it() -> None:
    for count, taken in ((45, 45), (1000, 50)):
        loop = Loop()
        for _ in range(count):
            loop.handle(loop.now, ROW, 1e-3)
        loop.end_round()
        assert len(loop.answered) == pytest.approx(taken, abs=2)
        assert len(loop.answered) + len(loop.refused) == count


def test_bursts_are_taken_in_again_soon_after_an_overload() -> None:
    loop = Loop(refusal_s=100e-6)
    loop.run(poisson(3 / 1e-3, ROW, 1e-3), until=105)
    loop.run(poisson(0.5 / 1e-3, ROW, 1e-3, start=loop.now), until=loop.now + 0.1)
    loop.answered.clear()
    for _ in range(45):
        loop.handle(loop.now, ROW, 1e-3)
    assert len(loop.answered) == 45


def test_standing_crowd_is_answered_as_before_when_the_machine_was_asleep_for_once() -> None:
    loop = Loop(refusal_s=100e-6)
    loop.now += 1
    for round_ in range(20):
        for caller in range(20):
            if (round_, caller) == (5, 10):
                loop.now += 2 * BUDGET_S
            loop.handle(loop.now, ROW, 2e-3)
        loop.end_round()
    assert 10 <= len(loop.refused) <= 15  # what came after it in its round, and little more


def test_few_callers_are_answered_when_the_machine_was_asleep() -> None:
    loop = Loop(refusal_s=100e-6)
    for _ in range(4):
        loop.handle(loop.now, ROW, 2e-3)
        loop.now += BUDGET_S
    assert len(loop.answered) == 4


def test_burst_is_taken_in_by_a_new_server_whose_first_answer_was_interrupted() -> None:
    loop = Loop()
    for cost in (0.06, *[1e-3] * 10):
        loop.handle(loop.now, ROW, cost)
    assert len(loop.answered) == 11


def test_little_work_is_done_whatever_interrupts_it() -> None:
    loop = Loop()
    for _ in range(3):
        for caller in range(7):
            loop.handle(loop.now, ROW, 2 * BUDGET_S if caller == 4 else 1e-3)
        loop.end_round()
    assert len(loop.answered) == 21
    loop.now += 1
    loop.admission.admit(ROW, loop.now, 0.005)  # the interruptions have told it nothing about the cost of a request


def test_lasting_cost_is_learnt_soon() -> None:
    loop = Loop()
    for cost in (1e-3, 1e-3, *[20e-3] * 20):
        loop.handle(loop.now, ROW, cost)
        loop.end_round()
    with pytest.raises(DeadlineError):
        loop.admission.admit(ROW, loop.now, 15e-3)


def test_what_waits_outside_is_told_of_long_rounds_only() -> None:
    loop = Loop()
    told: list[float] = []
    loop.admission.after_long_round.append(lambda: told.append(loop.now))
    for cost in (1e-3, 0.05):
        loop.handle(loop.now, ROW, cost)
        loop.end_round()
    assert told == [loop.now]


def test_first_request_of_a_round_is_answered_whatever_it_costs() -> None:
    loop = Loop()
    for _ in range(5):
        loop.handle(loop.now, 1_000_000, 3 * BUDGET_S)
        loop.end_round()
    assert len(loop.answered) == 5


def test_large_requests_get_their_turn_among_many_small_ones() -> None:
    loop = Loop(refusal_s=4e-6)
    chance = random.Random(2)

    def mixed() -> Iterator[tuple[float, int, float]]:
        for arrival, size, cost in poisson(2 / 1e-3, ROW, 1e-3):
            yield (arrival, 1_000_000, 0.15) if chance.random() < 0.002 else (arrival, size, cost)

    loop.run(mixed(), until=120)
    assert loop.sizes.count(1_000_000) >= 10
    assert loop.sizes.count(ROW) >= 5000


def test_a_small_request_still_fits_where_a_large_one_does_not() -> None:
    loop = Loop()
    loop.handle(loop.now, 100_000, 0.018)
    loop.end_round()
    for _ in range(3):
        loop.handle(loop.now, 100_000, 0.018)
    assert (len(loop.answered), len(loop.refused)) == (3, 1)
    loop.handle(loop.now, ROW, 1e-3)
    assert (len(loop.answered), len(loop.refused)) == (4, 1)


def test_what_is_no_smaller_than_a_refused_request_needs_no_second_look() -> None:
    loop = Loop()
    loop.handle(loop.now, 100_000, 0.04)
    loop.end_round()  # the second one tells that this is what it costs
    loop.handle(loop.now, 100_000, 0.04)
    assert not loop.admission.is_full
    assert not loop.admission.refuses(1 << 40)
    loop.handle(loop.now, 100_000, 0.04)
    assert (len(loop.answered), len(loop.refused)) == (2, 1)
    assert [loop.admission.refuses(size) for size in (ROW, 60_000, 70_000, 1_000_000)] == [False, False, True, True]
    loop.end_round()
    assert not loop.admission.is_full
    assert not loop.admission.refuses(1_000_000)


def test_request_is_refused_at_once_that_cannot_be_answered_before_its_deadline() -> None:
    loop = Loop()
    loop.handle(loop.now, ROW, 0.01)
    loop.admission.admit(ROW, loop.now, 0.03)  # the first has taken 10 ms, and 10 more are enough
    loop.now += 0.01
    loop.admission.done()
    with pytest.raises(OverloadedError, match="deadline"):
        loop.admission.admit(ROW, loop.now, 0.025)
    with pytest.raises(DeadlineError):
        loop.admission.admit(ROW, loop.now, 0.019)


def test_time_in_which_a_request_arrived_counts() -> None:
    loop = Loop()
    with pytest.raises(DeadlineError):
        loop.admission.admit(ROW, loop.now - 2.0, 1.0)
    loop.admission.admit(ROW, loop.now - 2.0, 3.0)


def test_round_before_counts_if_this_one_followed_at_once() -> None:
    for pause, refused in ((0.0, True), (0.5, False)):
        loop = Loop()
        loop.handle(loop.now, ROW, 0.08)
        loop.end_round()
        loop.now += pause
        try:
            loop.admission.admit(10 * ROW, loop.now, 0.03)  # of another size: nothing is known of its cost
        except DeadlineError:
            assert refused
        else:
            assert not refused


def test_estimate_that_was_wrong_does_not_refuse_for_ever() -> None:
    loop = Loop()
    loop.handle(loop.now, ROW, 1.0)  # the machine was asleep
    loop.end_round()
    loop.now += 1
    tries = 0
    while True:
        tries += 1
        try:
            loop.admission.admit(ROW, loop.now, 0.1)
        except (OverloadedError, DeadlineError):
            loop.end_round()
            loop.now += 0.01
        else:
            break
    assert 1 < tries < 100


def test_deadlines_that_cannot_be_met_do_not_hide_what_others_cost() -> None:
    cost = 5e-3
    loop = Loop(refusal_s=100e-6)
    # Twelve times the capacity with a deadline that is shorter than the work, beside callers who wait.
    hasty = ((*request, 2e-3) for request in poisson(12 / cost, ROW, cost))
    loop.run(heapq.merge(hasty, poisson(1.5 / cost, ROW, cost)), until=115)
    assert p99(loop.answered) <= BUDGET_S


@pytest.mark.parametrize("load", [1.5, 3.0])
def test_budget_holds_with_a_tenth_of_a_core(load: float) -> None:
    cost, period, quota = 200e-6, 0.1, 0.01
    loop, used = Loop(refusal_s=30e-6), {}

    def stalled(requests: Iterator[tuple[float, int, float]]) -> Iterator[tuple[float, int, float]]:
        """Requests that take a period more where its quota is used up."""
        for arrival, size, spent in requests:
            at = int(max(arrival, loop.now) / period)
            used[at] = used.get(at, 0.0) + spent
            yield arrival, size, spent if used[at] < quota else spent + (at + 1) * period - loop.now

    loop.run(stalled(poisson(load * quota / period / cost, ROW, cost)), until=115)
    assert p99(loop.answered) <= 2 * BUDGET_S  # a period is half a budget


def test_without_an_event_loop_only_deadlines_refuse() -> None:
    admission = Admission(1e-9, Metrics("v"))
    for _ in range(3):
        admission.admit(ROW, admission.clock(), math.inf)
        admission.done()
    with pytest.raises(DeadlineError):
        admission.admit(ROW, admission.clock(), 0.0)
