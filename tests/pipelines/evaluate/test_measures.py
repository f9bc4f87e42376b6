from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from pipelines.stages.evaluate import gate
from pipelines.statistics import measures

LABELS = np.array([1, 0, 1, 0, 0, 1, 0, 1], np.int8)
SCORES = np.array([0.9, 0.2, 0.4, 0.4, 0.1, 0.7, 0.8, 0.3])
DAYS = np.array([0, 0, 0, 1, 1, 1, 2, 2])


def _auc_by_pairs(labels: np.ndarray, scores: np.ndarray) -> float:
    pairs = [(p > n) + 0.5 * (p == n) for p, n in product(scores[labels == 1], scores[labels == 0])]
    return sum(pairs) / len(pairs)


def test_measure_agrees_with_the_formulas() -> None:
    measured = measures.measure("binary", LABELS, SCORES)
    assert measured["roc_auc"] == pytest.approx(_auc_by_pairs(LABELS, SCORES))
    assert measured["brier"] == pytest.approx(np.mean((SCORES - LABELS) ** 2))
    expected = -np.mean(np.where(LABELS == 1, np.log(SCORES), np.log(1 - SCORES)))
    assert measured["log_loss"] == pytest.approx(expected)


def test_measure_leaves_areas_out_when_one_class_is_missing() -> None:
    assert "roc_auc" not in measures.measure("binary", np.zeros(4, np.int8), SCORES[:4])


def test_calibration_error_is_the_weighted_gap_of_the_bins() -> None:
    labels, scores = np.array([0, 0, 1, 1], np.int8), np.array([0.1, 0.3, 0.5, 0.7])
    # two bins: mean score .2 against rate 0, and .6 against 1
    assert measures.calibration_error(labels, scores, bins=2) == pytest.approx(0.5 * 0.2 + 0.5 * 0.4)


def test_concordance_counts_ordered_pairs_by_day() -> None:
    pairs = measures.concordance(LABELS, SCORES, DAYS)
    positives, negatives = (LABELS == 1).sum(), (LABELS == 0).sum()
    assert pairs.sum() / (positives * negatives) == pytest.approx(_auc_by_pairs(LABELS, SCORES))
    # positives of day 0 (.9, .4) against negatives of day 1 (.4, .1): 2 + 1.5
    assert pairs[0, 1] == 3.5


def test_measure_of_many_labels_agrees_with_scikit_learn() -> None:
    from sklearn import metrics

    random = np.random.default_rng(3)
    codes, scores = random.integers(0, 3, 200).astype(np.int16), random.dirichlet([1, 2, 3], 200)
    measured = measures.measure("multiclass", codes, scores)
    assert measured["log_loss"] == pytest.approx(metrics.log_loss(codes, scores))
    assert measured["roc_auc"] == pytest.approx(
        metrics.roc_auc_score(codes, scores, multi_class="ovr", average="macro")
    )
    assert measured["accuracy"] == np.mean(
        [scores[row].tolist().index(max(scores[row])) == codes[row] for row in range(200)]
    )
    assert "roc_auc" not in measures.measure("multiclass", codes[codes < 2], scores[codes < 2])


def test_calibration_of_many_labels_is_that_of_the_most_probable_one() -> None:
    scores = np.tile([0.7, 0.2, 0.1], (10, 1))
    codes = np.array([0] * 6 + [1, 1, 2, 2])  # right in six of ten, at a confidence of 0.7; ten bins of one row
    expected = (6 * abs(0.7 - 1) + 4 * 0.7) / 10
    assert measures.measure("multiclass", codes, scores)["calibration_error"] == pytest.approx(expected)


def test_log_loss_is_finite_when_a_label_was_given_no_chance() -> None:
    assert 30 < measures.log_losses(np.array([0]), np.array([[0.0, 1.0]]))[0] < 40


def test_measure_of_numbers_agrees_with_scikit_learn() -> None:
    from sklearn import metrics

    random = np.random.default_rng(4)
    values = random.normal(50, 10, 300)
    scores = values + random.normal(1, 3, 300)
    measured = measures.measure("regression", values, scores)
    assert measured["rmse"] == pytest.approx(metrics.root_mean_squared_error(values, scores))
    assert measured["mae"] == pytest.approx(metrics.mean_absolute_error(values, scores))
    assert measured["r2"] == pytest.approx(metrics.r2_score(values, scores))
    assert "r2" not in measures.measure("regression", np.ones(4), np.zeros(4))


@pytest.mark.parametrize(("difference", "verdict"), [(0.01, "passed"), (0.0, "failed"), (-0.01, "failed")])
def test_gate_asks_for_a_difference_above_zero_against_a_baseline(difference: float, verdict: str) -> None:
    found = {"difference": difference, "lower_bound": -1.0, "days": 30}
    assert gate.better_than_linear(found, 0.0, 20)["verdict"] == verdict
    assert gate.better_than_prior(found | {"lower_bound": difference}, 20, 3)["verdict"] == verdict


def test_gate_says_that_there_was_nothing_to_learn_when_no_tree_has_a_split() -> None:
    check = gate.better_than_prior({"difference": 1e-9, "lower_bound": 1e-9, "rows": 30}, 20, 0)
    assert check["verdict"] == gate.FAILED
    assert "nothing to learn" in gate.reason(check, "binary")


@pytest.mark.parametrize(("bound", "verdict"), [(-0.009, "passed"), (-0.011, "failed")])
def test_gate_asks_for_confidence_against_the_live_model(bound: float, verdict: str) -> None:
    check = gate.not_worse_than_live({"difference": 0.02, "lower_bound": bound, "days": 30}, 0.01, 20)
    assert check["verdict"] == verdict
    assert f"{bound:+.4f}" in gate.reason(check, "binary")


@pytest.mark.parametrize(("difference", "verdict"), [(-0.019, "passed"), (-0.021, "failed")])
def test_gate_lets_a_model_lose_the_linear_margin(difference: float, verdict: str) -> None:
    check = gate.better_than_linear({"difference": difference, "lower_bound": -1.0, "rows": 50}, 0.02, 20)
    assert (check["verdict"], check["asks"]) == (verdict, "a difference above -0.02")
    assert "over 50 rows" in gate.reason(check, "regression")


@pytest.mark.parametrize(
    ("days", "bound", "verdict"), [(19, 0.1, "undecided"), (20, 0.1, "passed"), (19, -0.1, "failed")]
)
def test_gate_is_undecided_when_a_bound_that_passes_rests_on_few_clusters(
    days: int, bound: float, verdict: str
) -> None:
    found = {"difference": 0.2, "lower_bound": bound, "days": days}
    checks = [gate.better_than_prior(found, 20, 3), gate.not_worse_than_live(found, 0.01, 20)]
    assert [check["verdict"] for check in checks] == [verdict, verdict]
    assert gate.verdict(checks) == {"undecided": "held", "passed": "approved", "failed": "rejected"}[verdict]
    said = gate.reason(checks[0], "binary")
    assert ("95 % lower bound" in said, "too few for a bound (gates.clusters: 20)" in said) == (days == 20, days == 19)


@pytest.mark.parametrize(
    ("replaces", "verdict"), [(None, "held"), ("b" * 12, "held"), ("a" * 12, "approved"), ("a" * 64, "approved")]
)
def test_gate_holds_a_model_that_was_not_compared_until_a_person_names_the_live_one(
    replaces: str | None, verdict: str
) -> None:
    passed = gate.better_than_prior({"difference": 0.2, "lower_bound": 0.1, "days": 30}, 20, 3)
    check = gate.not_compared("a" * 64, ["its target is another one"], replaces)
    assert gate.verdict([passed, check]) == verdict
    assert "not compared, because its target is another one" in gate.reason(check, "binary")
    assert f'gates.replaces: "{"a" * 12}"' in gate.remedy(check, "a" * 64)
    assert "NOT compared with the live model" in gate.summary([passed, check], "a" * 64)
    failed = gate.better_than_prior({"difference": 0.2, "lower_bound": -0.1, "days": 30}, 20, 3)
    assert gate.summary([failed], "a" * 64) == "0 checks passed; compared with the live model aaaaaaaaaaaa"
    assert gate.summary([passed], None) == "1 checks passed; no live model to compare with"
    assert gate.verdict([failed, check]) == "rejected"
