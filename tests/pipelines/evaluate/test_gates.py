from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pipelines.params.params import Gates
from pipelines.stages.evaluate.gates import conditions, gate
from pipelines.stages.evaluate.gates.conditions import CALIBRATION, COST, HEADLINE, Evidence
from pipelines.stages.evaluate.gates.gate import Check


def bounded(figure: float, lower: float, upper: float, clusters: int = 30, **more: Any) -> dict[str, Any]:
    """A figure of some measure with its bounds."""
    bounds = {"figure": figure, "lower_bound": lower, "upper_bound": upper, "clusters": clusters, "unit": "days"}
    return {"measure": "difference in ROC-AUC", **bounds, "rows": 30 * clusters, "resamples": 200, "seed": 1, **more}


BETTER = bounded(0.2, 0.1, 0.3)
EVIDENCE = Evidence({"prior": BETTER, "linear": BETTER}, live=None, not_compared=None, splits=3)
# With a margin of 0.01: bounds above it, below it, around it.
NON_INFERIOR, INFERIOR, UNCLEAR = bounded(0, -0.009, 0.009), bounded(-0.05, -0.09, -0.01), bounded(0, -0.02, 0.02)
OF_MARGIN = [(NON_INFERIOR, "passed"), (INFERIOR, "failed"), (UNCLEAR, "undecided")]


def check_of(name: str, evidence: Evidence, **settings: Any) -> Check:
    return next(check for check in conditions.checks(evidence, Gates(**settings)) if check["name"] == name)


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (bounded(0.1, 0.01, 0.2), "passed"),
        (bounded(-0.1, -0.2, 0.0), "failed"),
        (bounded(0.0, 0.0, 0.0), "failed"),  # equal to the prior on every row
        (bounded(0.1, -0.01, 0.2), "undecided"),
    ],
)
def test_model_must_be_better_than_the_prior_with_confidence(found: dict[str, Any], verdict: str) -> None:
    check = check_of(gate.PRIOR, replace(EVIDENCE, against={"prior": found, "linear": BETTER}))
    assert (check["verdict"], check["margin"]) == (verdict, 0.0)
    evidence = ("figure", "lower_bound", "upper_bound", "clusters", "unit", "rows", "resamples", "seed")
    assert {name: check[name] for name in evidence} == {name: found[name] for name in evidence}


def test_gate_says_that_there_was_nothing_to_learn_when_no_tree_has_a_split() -> None:
    found = bounded(1e-9, 1e-9, 1e-9)
    check = check_of(gate.PRIOR, replace(EVIDENCE, against={"prior": found, "linear": found}, splits=0))
    assert check["verdict"] == gate.FAILED
    assert "nothing to learn" in gate.reason(check)


def test_gate_asks_for_no_splits_of_a_model_that_has_no_trees() -> None:
    check = check_of(gate.PRIOR, replace(EVIDENCE, splits=None))
    assert (check["verdict"], "splits" in check) == (gate.PASSED, False)


@pytest.mark.parametrize(("live", "verdict"), OF_MARGIN)
def test_gate_asks_for_confidence_against_the_live_model(live: dict[str, Any], verdict: str) -> None:
    check = check_of(gate.LIVE, replace(EVIDENCE, live={HEADLINE: live}), regression_margin=0.01)
    assert (check["verdict"], check["asks"]) == (verdict, "a lower bound above -0.01")
    said = gate.reason(check)
    assert f"95 % bounds {live['lower_bound']:+.4f} and {live['upper_bound']:+.4f} over 30 days" in said
    assert ("undecided; " in said) == (verdict == "undecided")


@pytest.mark.parametrize(("metric", "key"), [entry for entry in conditions.MARGINS.items() if entry[0] != HEADLINE])
@pytest.mark.parametrize(("live", "verdict"), OF_MARGIN)
def test_each_metric_against_the_live_model_has_a_margin_of_its_own(
    metric: str, key: str, live: dict[str, Any], verdict: str
) -> None:
    evidence = replace(EVIDENCE, live={HEADLINE: NON_INFERIOR, metric: live})
    assert [check["verdict"] for check in conditions.checks(evidence, Gates())] == ["passed"] * 3
    checks = conditions.checks(evidence, Gates(**{key: 0.01}))
    assert [check["verdict"] for check in checks] == ["passed"] * 3 + [verdict]
    assert checks[-1]["name"].startswith(f"{gate.LIVE} in ")


@pytest.mark.parametrize(
    ("linear", "verdict"),
    [
        (bounded(-0.019, -1.0, 0.5), "passed"),
        (bounded(-0.021, -1.0, 0.5), "undecided"),
        (bounded(-0.1, -1.0, -0.02), "failed"),
        (bounded(-0.019, -1.0, 0.5, clusters=2), "undecided"),
        (bounded(-0.1, -1.0, -0.02, clusters=2), "undecided"),
    ],
)
def test_gate_lets_a_model_lose_the_linear_margin(linear: dict[str, Any], verdict: str) -> None:
    evidence = replace(EVIDENCE, against={"prior": BETTER, "linear": linear})
    check = check_of("better than the linear baseline", evidence, linear_margin=0.02)
    assert (check["verdict"], check["asks"]) == (verdict, "a difference above -0.02")


@pytest.mark.parametrize(
    ("days", "bounds", "verdict"),
    [(19, (0.1, 0.3), "undecided"), (20, (0.1, 0.3), "passed"), (19, (-0.3, -0.1), "undecided"), (20, (-0.3, -0.1), "failed")],
)  # fmt: skip
def test_bounds_over_few_clusters_decide_nothing(days: int, bounds: tuple[float, float], verdict: str) -> None:
    found = bounded(sum(bounds) / 2, *bounds, clusters=days)
    evidence = replace(EVIDENCE, against={"prior": found, "linear": BETTER}, live={HEADLINE: found})
    checks = [check_of(name, evidence, clusters=20) for name in (gate.PRIOR, gate.LIVE)]
    assert [check["verdict"] for check in checks] == [verdict, verdict]
    said = gate.reason(checks[0])
    assert ("95 % bounds" in said, "too few for bounds (gates.clusters: 20)" in said) == (days == 20, days == 19)
    assert ("lower gates.clusters" in gate.remedy(checks[0], None)) == (days == 19)


@pytest.mark.parametrize(("undecided", "verdict"), [("hold", "held"), ("reject", "rejected"), ("approve", "approved")])
def test_params_say_what_undecided_means(undecided: Any, verdict: str) -> None:
    evidence = replace(EVIDENCE, live={HEADLINE: UNCLEAR})
    checks = conditions.checks(evidence, Gates())
    assert gate.verdict(checks, undecided) == verdict
    # A check that failed rejects, whatever undecided means.
    assert (
        gate.verdict([*checks, check_of(gate.LIVE, replace(EVIDENCE, live={HEADLINE: INFERIOR}))], undecided)
        == "rejected"
    )


@pytest.mark.parametrize(
    ("replaces", "verdict"), [(None, "held"), ("b" * 12, "held"), ("a" * 12, "approved"), ("a" * 64, "approved")]
)
def test_gate_holds_a_model_that_was_not_compared_until_a_person_names_the_live_one(
    replaces: str | None, verdict: str
) -> None:
    evidence = replace(EVIDENCE, not_compared=("a" * 64, ("its target is another one",)))
    passed = check_of(gate.PRIOR, evidence)
    check = check_of(gate.LIVE, evidence, replaces=replaces)
    assert gate.verdict([passed, check], "hold") == verdict
    assert "not compared, because its target is another one" in gate.reason(check)
    assert f'gates.replaces: "{"a" * 12}"' in gate.remedy(check, "a" * 64)
    assert "NOT compared with the live model" in gate.summary([passed, check], "a" * 64)
    # Undecided may mean approved; without a comparison there is nothing that could be undecided.
    assert gate.verdict([passed, check], "approve") == verdict
    failed = check_of(gate.PRIOR, replace(EVIDENCE, against={"prior": INFERIOR, "linear": BETTER}))
    assert gate.summary([failed], "a" * 64) == "0 checks passed; compared with the live model aaaaaaaaaaaa"
    assert gate.summary([passed], None) == "1 checks passed; no live model to compare with"
    assert gate.verdict([failed, check], "hold") == "rejected"


@pytest.mark.parametrize(("found", "verdict"), OF_MARGIN)
def test_gate_stops_a_calibration_that_raises_the_log_loss(found: dict[str, Any], verdict: str) -> None:
    check = check_of("not worse than uncalibrated", replace(EVIDENCE, uncalibrated=found))
    assert check["verdict"] == verdict


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (bounded(0.03, 0.02, 0.05), "passed"),
        (bounded(0.06, 0.051, 0.09), "failed"),
        (bounded(0.04, 0.02, 0.06), "undecided"),
    ],
)
@pytest.mark.parametrize(("metric", "name"), [(CALIBRATION, "well calibrated"), (COST, "within the costs")])
def test_figures_have_limits_where_they_are_declared(
    metric: str, name: str, found: dict[str, Any], verdict: str
) -> None:
    evidence = replace(EVIDENCE, bounded={metric: found})
    assert len(conditions.checks(evidence, Gates())) == 2
    check = check_of(name, evidence, **{metric: 0.05})
    assert (check["verdict"], check["asks"]) == (verdict, "an upper bound of at most 0.05")
    assert f" {found['figure']:.4f}, 95 % bounds {found['lower_bound']:.4f} and" in gate.reason(check)


def test_gate_asks_nothing_of_a_model_without_calibration() -> None:
    assert len(conditions.checks(EVIDENCE, Gates())) == 2


def test_every_parameter_of_a_gate_is_a_key_of_the_params() -> None:
    for entry in conditions.GATES:
        assert set(entry.parameters) <= Gates.model_fields.keys(), entry.name
