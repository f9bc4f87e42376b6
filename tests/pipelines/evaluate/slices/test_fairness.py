"""Protected groups: rates, errors and calibration by group, and the gaps between them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from contract.files import canonical_json
from pipelines.stages.evaluate.gates import decision, gate
from pipelines.stages.evaluate.gates.predictions import Predictions
from pipelines.stages.evaluate.slices import fairness
from tests.pipelines.evaluate.slices.made import KINDS, enumerated, figures, given, predictions

NAMES = {
    "binary": {"rate", "true_positive_rate", "false_positive_rate", "error_rate", "loss", "calibration_gap"},
    "multiclass": {"rate: no", "rate: yes", "rate: perhaps", "error_rate", "loss", "calibration_gap"},
    "regression": {"rate", "loss", "calibration_gap"},
    "quantiles": {"loss", "calibration_gap: 0.1", "calibration_gap: 0.9"},
}


def unfair() -> Predictions:
    """A model that rarely answers group `f` with the positive label."""
    found = predictions("binary")
    is_f = np.array(found.groups["protected.sex"].to_list()) == "f"
    return replace(found, scores=found.scores | {"model": np.where(is_f, 0.5, 1.0) * found.scores["model"]})


@pytest.mark.parametrize("kind", KINDS)
def test_groups_and_gaps_have_bounds(kind: str) -> None:
    (found,) = fairness.section(figures(kind, predictions(kind)))
    assert (found["column"], [group["value"] for group in found["groups"]]) == ("sex", ["f", "m"])
    assert found["gaps"].keys() == NAMES[kind]
    for group in found["groups"]:
        assert group["figures"].keys() == NAMES[kind]
    for gap in found["gaps"].values():
        assert 0 <= gap["figure"] <= gap["upper_bound"]
        assert (gap["verdict"], gap["limit"]) == ("reported", None)
    assert b"NaN" not in canonical_json(found)


def test_rates_are_those_of_the_rows() -> None:
    made = predictions("binary")
    (found,) = fairness.section(figures("binary", made))
    rows = np.array(made.groups["protected.sex"].to_list()) == "m"
    answered, outcomes = made.scores["model"][rows] >= 0.5, made.outcomes[rows]
    shown = {name: figure["figure"] for name, figure in found["groups"][1]["figures"].items()}
    assert shown["rate"] == pytest.approx(answered.mean())
    assert shown["true_positive_rate"] == pytest.approx(answered[outcomes == 1].mean())
    assert shown["false_positive_rate"] == pytest.approx(answered[outcomes == 0].mean())
    assert shown["error_rate"] == pytest.approx((answered != outcomes).mean())
    assert shown["calibration_gap"] == pytest.approx(made.scores["model"][rows].mean() - outcomes.mean())
    difference = abs(found["groups"][0]["figures"]["rate"]["figure"] - shown["rate"])
    assert found["gaps"]["rate"]["figure"] == pytest.approx(difference)


@pytest.mark.parametrize(
    ("made", "limit", "verdict"),
    [
        (predictions("binary"), 0.2, gate.PASSED),
        (predictions("binary"), 0.02, gate.UNDECIDED),
        (unfair(), 0.2, gate.FAILED),
    ],
)
def test_gap_is_judged_by_its_bounds(made: Predictions, limit: float, verdict: str) -> None:
    decided = decision.decide(made, given("binary", fairness_gap={"true_positive_rate": limit}))
    check = next(check for check in decided["checks"] if check["name"] == "fair by sex, true positive rate")
    assert check["verdict"] == verdict
    assert "gap of at most" in gate.reason(check)
    assert decided["fairness"][0]["gaps"]["true_positive_rate"]["verdict"] == verdict
    assert decided["verdict"] == {gate.PASSED: "approved", gate.UNDECIDED: "held", gate.FAILED: "rejected"}[verdict]


def test_gap_of_rare_answers_fails_only_where_its_bounds_do() -> None:
    """Of 200 rows none against five: less than chance may do, though few resamplings know it."""
    outcomes = np.zeros(400, np.int8)
    scores = np.full(400, 0.1)
    scores[[200, 220, 240, 260, 280]] = 0.9
    scored = dict.fromkeys(("model", "linear", "prior"), scores)
    groups = {"protected.sex": enumerated(np.repeat(["f", "m"], 200).tolist())}
    made = Predictions(outcomes, np.arange(400) % 40, scored, None, groups=groups)
    found = fairness.section(figures("binary", made, fairness_gap={"rate": 0.005}))[0]["gaps"]["rate"]
    assert found["lower_bound"] < 0.005 < found["figure"] == pytest.approx(0.025)
    assert found["verdict"] == gate.UNDECIDED


def one_group(made: Predictions) -> Predictions:
    return replace(made, groups={"protected.sex": enumerated(["f"] * len(made.outcomes))})


@pytest.mark.parametrize(
    "made",
    [predictions("binary", days=1), predictions("binary", rows=20, days=5), one_group(predictions("binary"))],
    ids=["one day", "twenty rows", "one group"],
)
def test_gap_that_no_rows_can_show_is_undecided(made: Predictions) -> None:
    limits: dict[str, Any] = {"fairness_gap": {"rate": 0.9, "false_positive_rate": 0.9}}
    decided = decision.decide(made, given("binary", **limits))
    checks = [check for check in decided["checks"] if check["name"].startswith("fair by sex")]
    assert [check["verdict"] for check in checks] == [gate.UNDECIDED] * 2
    assert decided["verdict"] == "held"
    assert all(gate.reason(check) and gate.remedy(check, None) for check in checks)
    assert b"NaN" not in canonical_json(decided)


def test_limit_holds_for_the_rate_of_each_label() -> None:
    decided = decision.decide(predictions("multiclass"), given("multiclass", fairness_gap={"rate": 0.3}))
    names = [check["name"] for check in decided["checks"] if check["name"].startswith("fair")]
    assert names == [f"fair by sex, rate: {label}" for label in ("no", "yes", "perhaps")]
