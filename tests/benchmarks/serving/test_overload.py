"""What is made of the counts of an overload, by the drill."""

from __future__ import annotations

import pytest

from drills.callers.overload import goodput_of


@pytest.mark.parametrize(("times", "cost"), [(3.0, 0.0), (3.0, 0.04), (6.0, 0.04), (3.0, 0.2)])
def test_goodput_is_that_at_three_times_the_capacity_however_many_asked(times: float, cost: float) -> None:
    capacity = 1000.0  # answers in the time that the replica used: refusals take their part of it
    answered = capacity * (1 - times * cost) / (1 - cost)
    refused = times * capacity - answered
    at_three = (1 - 3 * cost) / (1 - cost)
    assert goodput_of(round(max(answered, 0)), round(refused), capacity) == pytest.approx(at_three, abs=0.01)


def test_goodput_is_none_when_nothing_is_answered() -> None:
    assert goodput_of(0, 10, 1000.0) == 0
