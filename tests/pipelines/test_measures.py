from __future__ import annotations

from datetime import datetime
from itertools import product

import numpy as np
import polars as pl
import pytest

from pipelines import measures
from pipelines.evaluate import gate

LABELS = np.array([1, 0, 1, 0, 0, 1, 0, 1], np.int8)
SCORES = np.array([0.9, 0.2, 0.4, 0.4, 0.1, 0.7, 0.8, 0.3])
DAYS = np.array([0, 0, 0, 1, 1, 1, 2, 2])


def _auc_by_pairs(labels: np.ndarray, scores: np.ndarray) -> float:
    pairs = [(p > n) + 0.5 * (p == n) for p, n in product(scores[labels == 1], scores[labels == 0])]
    return sum(pairs) / len(pairs)


def test_measure_agrees_with_the_formulas() -> None:
    measured = measures.measure(LABELS, SCORES)
    assert measured["roc_auc"] == pytest.approx(_auc_by_pairs(LABELS, SCORES))
    assert measured["brier"] == pytest.approx(np.mean((SCORES - LABELS) ** 2))
    expected = -np.mean(np.where(LABELS == 1, np.log(SCORES), np.log(1 - SCORES)))
    assert measured["log_loss"] == pytest.approx(expected)


def test_measure_leaves_areas_out_when_one_class_is_missing() -> None:
    assert "roc_auc" not in measures.measure(np.zeros(4, np.int8), SCORES[:4])


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


def test_auc_difference_resamples_whole_days_in_pairs() -> None:
    random = np.random.default_rng(5)
    days = np.repeat(np.arange(20), 30)
    labels = (random.random(600) < 0.4).astype(np.int8)
    good = labels * 0.5 + random.random(600)
    bad = random.random(600)
    found = measures.auc_difference(labels, good, bad, days, resamples=500, seed=1)
    assert found["difference"] == pytest.approx(_auc_by_pairs(labels, good) - _auc_by_pairs(labels, bad))
    # the same bound by brute force: whole days drawn, both areas measured on the same rows
    brute = []
    for _ in range(300):
        rows = np.concatenate([np.flatnonzero(days == day) for day in random.integers(0, 20, 20)])
        both = [measures.measure(labels[rows], values[rows] / 2)["roc_auc"] for values in (good, bad)]
        brute.append(both[0] - both[1])
    assert found["lower_bound"] == pytest.approx(np.percentile(brute, 5), abs=0.02)
    assert found["days"] == 20


def test_auc_difference_of_a_model_with_itself_is_nothing() -> None:
    found = measures.auc_difference(LABELS, SCORES, SCORES, DAYS, resamples=100, seed=1)
    assert found["difference"] == found["lower_bound"] == 0


def test_number_days_has_no_gaps() -> None:
    times = pl.Series([datetime(2024, 1, 5, 3), datetime(2024, 1, 9), datetime(2024, 1, 5, 23)])
    assert measures.number_days(times).tolist() == [0, 1, 0]


@pytest.mark.parametrize(("difference", "passed"), [(0.01, True), (0.0, False), (-0.01, False)])
def test_gate_asks_for_a_difference_above_zero_against_a_baseline(difference: float, passed: bool) -> None:
    found = {"difference": difference, "lower_bound": -1.0, "days": 3}
    assert gate.better_than_linear(found)["passed"] is passed
    assert gate.better_than_prior(found | {"lower_bound": difference})["passed"] is passed


@pytest.mark.parametrize(("bound", "passed"), [(-0.009, True), (-0.011, False)])
def test_gate_asks_for_confidence_against_the_live_model(bound: float, passed: bool) -> None:
    check = gate.not_worse_than_live({"difference": 0.02, "lower_bound": bound, "days": 3}, margin=0.01)
    assert check["passed"] is passed
    assert f"{bound:+.4f}" in gate.reason(check)
