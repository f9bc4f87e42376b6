"""The e-processes: fair bets under their null hypotheses, counted out, and evidence where there is harm."""

import itertools
import math
import random

import pytest

from fleet.canary.evidence import Errors, Shift, Slowness, log_mean

SURE = math.log(20)


@pytest.mark.parametrize(("live", "canary", "failed"), [(20, 5, 3), (7, 7, 9), (3, 9, 5)])
def test_bet_on_more_errors_is_fair_when_every_request_is_as_likely_to_fail(
    live: int, canary: int, failed: int
) -> None:
    mean = 0.0
    for count in range(max(0, failed - live), min(failed, canary) + 1):
        errors = Errors(0.001)
        errors.add((live, failed - count), (canary, count))
        chance = math.comb(canary, count) * math.comb(live, failed - count) / math.comb(live + canary, failed)
        mean += chance * math.exp(log_mean(errors.worse))
        assert errors.harm() <= log_mean(errors.worse)
    assert mean == pytest.approx(1)


@pytest.mark.parametrize("rate", [0.02, 0.05, 0.3])
def test_bet_on_few_errors_gains_nothing_in_the_mean_when_there_are_as_many_as_the_margin(rate: float) -> None:
    mean = 0.0
    for count in range(11):
        errors = Errors(0.001)
        errors.add((0, 0), (10, count))
        mean += math.comb(10, count) * rate**count * (1 - rate) ** (10 - count) * math.exp(errors.harmless(0.02))
    assert mean <= 1 + 1e-9


def test_three_errors_of_seventy_are_harm_when_live_replicas_have_none() -> None:
    errors = Errors(0.001)
    for count in (0, 1, 1, 1):
        errors.add((330, 0), (17, count))
    assert errors.harm() > math.log(250)


def test_errors_are_no_harm_when_live_replicas_have_as_many() -> None:
    draw, errors = random.Random(1), Errors(0.001)
    for _ in range(400):
        live, canary = (sum(draw.random() < 0.05 for _ in range(count)) for count in (110, 40))
        errors.add((110, live), (40, canary))
    assert errors.harm() < 0
    assert errors.harmless(0.005) > SURE  # though its rate is above that margin


def test_rate_below_the_tolerated_one_is_no_harm_when_live_replicas_have_none() -> None:
    errors = Errors(0.001)
    for turn in range(40):
        errors.add((1000, 0), (500, turn % 2))  # one in a thousand
    assert errors.harm() < 0 < log_mean(errors.worse)


def test_slow_blocks_are_harm_and_fast_ones_its_absence() -> None:
    slow, fast, even = Slowness(), Slowness(), Slowness()
    for turn in range(14):
        slow.add(1.3, 1.15)
        fast.add(1.0, 1.15)
        even.add(1.3 if turn % 2 else 1.0, 1.15)
    assert slow.harm() > math.log(500) > 0 > fast.harm()
    assert fast.harmless() > SURE > 0 > slow.harmless()
    assert even.harm() < 0 > even.harmless()


def test_bet_on_a_slow_canary_is_fair_when_every_second_block_is_slow() -> None:
    mean = 0.0
    for ratios in itertools.product((1.0, 2.0), repeat=8):
        slowness = Slowness()
        for ratio in ratios:
            slowness.add(ratio, 1.15)
        mean += math.exp(slowness.harm()) / 2**8
    assert mean == pytest.approx(1)


def test_bet_on_a_shift_is_fair_when_the_shift_is_the_tolerated_one() -> None:
    live, canary, mean = {"a": 0.5, "b": 0.5}, {"a": 0.6, "b": 0.4}, 0.0
    for one, other in itertools.product("ab", repeat=2):
        shift = Shift(0.1, live={"a": 50, "b": 50}, canary={"a": 60, "b": 40})
        shift.add({one: 1.0}, {other: 1.0})
        mean += live[one] * canary[other] * math.exp(shift.harm())
    assert mean == pytest.approx(1)


def test_shifted_predictions_are_harm_and_like_ones_its_absence() -> None:
    shifted, like = Shift(0.1), Shift(0.1)
    for _ in range(40):
        shifted.add({"0.1": 80, "+Inf": 20}, {"0.1": 4, "+Inf": 6})
        like.add({"0.1": 80, "+Inf": 20}, {"0.1": 8, "+Inf": 2})
    assert shifted.harm() > math.log(500) > 0 > like.harm()
    assert like.harmless() > SURE > 0 > shifted.harmless()


def test_swapped_labels_are_a_shift() -> None:
    labels = Shift(0.1)
    for _ in range(40):
        labels.add({"late": 20, "on time": 80}, {"late": 8, "on time": 2})
    assert labels.harm() > math.log(500)


def test_block_without_predictions_of_one_side_is_no_evidence() -> None:
    shift = Shift(0.1)
    shift.add({}, {"0.1": 3})
    shift.add({"0.1": 3, "+Inf": 0}, {})
    assert shift == Shift(0.1)


def test_errors_of_a_late_page_are_compared_with_what_the_other_side_counted_meanwhile() -> None:
    late, prompt = Errors(0.001), Errors(0.001)
    for _ in range(3):
        late.add((330, 0), (0, 0))
    late.add((0, 0), (51, 4))
    prompt.add((990, 0), (51, 4))
    assert late == prompt
    assert late.harm() > math.log(250)
