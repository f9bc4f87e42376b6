from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pipelines.params.params import Gates
from pipelines.stages.evaluate import gate, gates
from pipelines.stages.evaluate.gate import Check
from pipelines.stages.evaluate.gates import Evidence
from pipelines.statistics.tasks import JUDGEMENTS

BETTER = {"difference": 0.2, "lower_bound": 0.1, "days": 30}
EVIDENCE = Evidence({}, {"prior": BETTER, "linear": BETTER}, live=None, not_compared=None, splits=3)


def check_of(name: str, evidence: Evidence, **settings: Any) -> Check:
    return next(check for check in gates.checks(evidence, Gates(**settings)) if check["name"] == name)


@pytest.mark.parametrize(("difference", "verdict"), [(0.01, "passed"), (0.0, "failed"), (-0.01, "failed")])
def test_gate_asks_for_a_difference_above_zero_against_a_baseline(difference: float, verdict: str) -> None:
    found = {"difference": difference, "lower_bound": difference, "days": 30}
    evidence = replace(EVIDENCE, against={"prior": found, "linear": found | {"lower_bound": -1.0}})
    assert [check["verdict"] for check in gates.checks(evidence, Gates())] == [verdict, verdict]


def test_gate_says_that_there_was_nothing_to_learn_when_no_tree_has_a_split() -> None:
    found = {"difference": 1e-9, "lower_bound": 1e-9, "rows": 30}
    check = check_of(gate.PRIOR, replace(EVIDENCE, against={"prior": found, "linear": found}, splits=0))
    assert check["verdict"] == gate.FAILED
    assert "nothing to learn" in gate.reason(check, JUDGEMENTS["logistic"])


def test_gate_asks_for_no_splits_of_a_model_that_has_no_trees() -> None:
    check = check_of(gate.PRIOR, replace(EVIDENCE, splits=None))
    assert (check["verdict"], "splits" in check) == (gate.PASSED, False)


@pytest.mark.parametrize(("bound", "verdict"), [(-0.009, "passed"), (-0.011, "failed")])
def test_gate_asks_for_confidence_against_the_live_model(bound: float, verdict: str) -> None:
    live = {"difference": 0.02, "lower_bound": bound, "days": 30}
    check = check_of(gate.LIVE, replace(EVIDENCE, live=live), regression_margin=0.01)
    assert check["verdict"] == verdict
    assert f"{bound:+.4f}" in gate.reason(check, JUDGEMENTS["logistic"])


@pytest.mark.parametrize(("difference", "verdict"), [(-0.019, "passed"), (-0.021, "failed")])
def test_gate_lets_a_model_lose_the_linear_margin(difference: float, verdict: str) -> None:
    linear = {"difference": difference, "lower_bound": -1.0, "rows": 50}
    evidence = replace(EVIDENCE, against={"prior": BETTER, "linear": linear})
    check = check_of("better than the linear baseline", evidence, linear_margin=0.02)
    assert (check["verdict"], check["asks"]) == (verdict, "a difference above -0.02")
    assert "over 50 rows" in gate.reason(check, JUDGEMENTS["squared_error"])


@pytest.mark.parametrize(
    ("days", "bound", "verdict"), [(19, 0.1, "undecided"), (20, 0.1, "passed"), (19, -0.1, "failed")]
)
def test_gate_is_undecided_when_a_bound_that_passes_rests_on_few_clusters(
    days: int, bound: float, verdict: str
) -> None:
    found = {"difference": 0.2, "lower_bound": bound, "days": days}
    evidence = replace(EVIDENCE, against={"prior": found, "linear": BETTER}, live=found)
    checks = [check_of(name, evidence, clusters=20) for name in (gate.PRIOR, gate.LIVE)]
    assert [check["verdict"] for check in checks] == [verdict, verdict]
    assert gate.verdict(checks) == {"undecided": "held", "passed": "approved", "failed": "rejected"}[verdict]
    said = gate.reason(checks[0], JUDGEMENTS["logistic"])
    assert ("95 % lower bound" in said, "too few for a bound (gates.clusters: 20)" in said) == (days == 20, days == 19)


@pytest.mark.parametrize(
    ("replaces", "verdict"), [(None, "held"), ("b" * 12, "held"), ("a" * 12, "approved"), ("a" * 64, "approved")]
)
def test_gate_holds_a_model_that_was_not_compared_until_a_person_names_the_live_one(
    replaces: str | None, verdict: str
) -> None:
    evidence = replace(EVIDENCE, not_compared=("a" * 64, ("its target is another one",)))
    passed = check_of(gate.PRIOR, evidence)
    check = check_of(gate.LIVE, evidence, replaces=replaces)
    assert gate.verdict([passed, check]) == verdict
    assert "not compared, because its target is another one" in gate.reason(check, JUDGEMENTS["logistic"])
    assert f'gates.replaces: "{"a" * 12}"' in gate.remedy(check, "a" * 64)
    assert "NOT compared with the live model" in gate.summary([passed, check], "a" * 64)
    worse = BETTER | {"lower_bound": -0.1}
    failed = check_of(gate.PRIOR, replace(EVIDENCE, against={"prior": worse, "linear": BETTER}))
    assert gate.summary([failed], "a" * 64) == "0 checks passed; compared with the live model aaaaaaaaaaaa"
    assert gate.summary([passed], None) == "1 checks passed; no live model to compare with"
    assert gate.verdict([failed, check]) == "rejected"


@pytest.mark.parametrize(("bound", "verdict"), [(-0.009, "approved"), (-0.011, "rejected")])
def test_gate_stops_a_calibration_that_raises_the_log_loss(bound: float, verdict: str) -> None:
    found = {"difference": 0.002, "lower_bound": bound, "days": 30}
    checks = gates.checks(replace(EVIDENCE, uncalibrated=found), Gates())
    assert gate.verdict(checks) == verdict
    said = gate.reason(
        next(check for check in checks if check["name"] == "not worse than uncalibrated"), JUDGEMENTS["logistic"]
    )
    assert said.startswith("not worse than uncalibrated: share of the other's log loss saved +0.0020, 95 % lower bound")


def test_gate_asks_nothing_of_a_model_without_calibration() -> None:
    assert len(gates.checks(EVIDENCE, Gates())) == 2


def test_every_parameter_of_a_gate_is_a_key_of_the_params() -> None:
    for entry in gates.GATES:
        assert set(entry.parameters) <= Gates.model_fields.keys(), entry.name
