"""The judge: what it waits for, what it decides, and how often it is wrong in simulated rollouts."""

import json
from collections import Counter

import pytest

from drills.fleet.canary.simulation import Canary, rollout
from fleet.canary.judge import PROMOTE, ROLL_BACK, STEP, WAIT, Judge

OK, INTERNAL = ("outcome", "ok"), ("outcome", "internal")
LATENCY, SLOW = {("latency", "0.0004"): 20}, {("latency", "0.0008"): 20}
SCORES = {("score", "0.1"): 10, ("score", "+Inf"): 10}


def test_canary_is_rolled_back_when_it_answers_nothing() -> None:
    judge = Judge("canary", "live", 0.0)
    kinds = [judge.look({OK: 100}, {}, {}, 5, at).kind for at in (10.0, 29.0, 31.0)]
    assert kinds == [WAIT, WAIT, ROLL_BACK]
    assert judge.verdict.why.startswith("no data")


def test_canary_is_rolled_back_when_the_evidence_is_not_there_in_time() -> None:
    judge = Judge("canary", "live", 0.0)
    verdicts = [judge.look({OK: 1}, {OK: 1}, {}, 1, 20.0 * turn) for turn in range(1, 31)]
    assert {each.kind for each in verdicts} == {WAIT}
    assert judge.look({OK: 1}, {OK: 1}, {}, 1, 620.0).kind == ROLL_BACK
    assert judge.verdict.why.startswith("no evidence")


def test_weight_grows_when_the_error_budget_allows_it_and_not_before() -> None:
    judge = Judge("canary", "live", 0.0)
    assert judge.look({OK: 2000}, {OK: 20}, {}, 1, 1.0).kind == WAIT
    stepped = judge.look({OK: 4000}, {OK: 40}, {}, 1, 2.0)
    assert (stepped.kind, stepped.weight) == (STEP, 5)


def test_nothing_is_promoted_without_evidence_about_latency_and_predictions() -> None:
    judge = Judge("canary", "live", 0.0)
    verdict = judge.look({OK: 100_000}, {OK: 30_000}, {}, 25, 1.0)
    assert verdict.kind == WAIT
    assert verdict.why == "not shown yet: latency, predictions"
    for turn in range(60):
        verdict = judge.look({OK: 60} | SCORES, {OK: 20} | SCORES | LATENCY, {OK: 20} | LATENCY, 25, 2.0 + turn)
        if verdict.kind != WAIT:
            break
    assert verdict.kind == PROMOTE
    # The end stays while it is acted on, but for harm.
    assert judge.look({OK: 60}, {OK: 19, INTERNAL: 1}, {OK: 20}, 25, 90.0) == verdict
    assert judge.look({OK: 600}, {OK: 100, INTERNAL: 100}, {OK: 20}, 25, 91.0).kind == ROLL_BACK
    assert judge.look({OK: 60_000}, {OK: 20_000}, {OK: 20}, 25, 92.0).kind == ROLL_BACK
    assert judge.decided_at == 91.0


def test_slow_canary_is_rolled_back_by_its_control_and_not_by_all_live_replicas() -> None:
    slow, busy = Judge("canary", "live", 0.0), Judge("canary", "live", 0.0)
    for turn in range(30):
        slow.look({OK: 60}, {OK: 20} | SLOW, LATENCY, 25, 1.0 + turn)
        busy.look({OK: 60} | LATENCY, {OK: 20} | SLOW, SLOW, 25, 1.0 + turn)
    assert slow.verdict.kind == ROLL_BACK
    assert slow.verdict.why.startswith("latency")
    assert busy.verdict.kind == WAIT


def test_predictions_and_client_errors_are_no_evidence_when_callers_stay_on_one_side() -> None:
    judge = Judge("canary", "live", 0.0)
    judge.same_traffic = False
    shifted, invalid = {("score", "0.1"): 20, ("score", "+Inf"): 0}, ("outcome", "invalid_rows")
    for turn in range(60):
        verdict = judge.look({OK: 60} | SCORES, {OK: 20, invalid: 4} | shifted | LATENCY, LATENCY, 25, 1.0 + turn)
        if verdict.kind != WAIT:
            break
    assert verdict.kind == PROMOTE


def test_evidence_goes_on_when_the_process_of_the_judge_was_another() -> None:
    judges = [Judge("canary", "live", 0.0), Judge("canary", "live", 0.0)]
    for turn in range(8):
        for judge in judges:
            judge.look({OK: 300} | SCORES, {OK: 15, INTERNAL: turn % 2} | SCORES, {}, 5, 1.0 + turn)
        judges[1] = Judge.resumed(json.loads(json.dumps(judges[1].report(1.0 + turn))))
    one, other = (judge.report(9.0) for judge in judges)
    assert one["evidence"] == other["evidence"]
    assert one["history"] == other["history"]
    assert one["saved"]["errors"] == other["saved"]["errors"]


@pytest.mark.parametrize(
    ("canary", "champion", "end"),
    [
        (Canary(), Canary(), PROMOTE),
        (Canary(shift=0.01), Canary(), PROMOTE),
        (Canary(errors=0.02), Canary(errors=0.02), PROMOTE),
        (Canary(errors=0.01), Canary(), ROLL_BACK),
        (Canary(slowdown=1.3), Canary(), ROLL_BACK),
        (Canary(shift=0.1), Canary(), ROLL_BACK),
        (Canary(swapped=True), Canary(), ROLL_BACK),
    ],
    ids=["same", "new model", "errors on both sides", "1 % errors", "30 % slower", "shifted score", "swapped label"],
)
def test_simulated_rollouts_end_as_they_should(canary: Canary, champion: Canary, end: str) -> None:
    found = Counter(rollout(seed, canary, 300, champion=champion).verdict.kind for seed in range(10))
    assert found == {end: 10}


def test_five_percent_errors_are_found_within_seconds() -> None:
    seconds = sorted(rollout(seed, Canary(errors=0.05), 300, weight=5).seconds for seed in range(11))
    assert seconds[5] <= 5
