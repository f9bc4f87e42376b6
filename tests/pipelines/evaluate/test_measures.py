from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from contract.schema.tasks import TASKS
from pipelines.models.families.trees import OBJECTIVES
from pipelines.statistics import measures
from pipelines.statistics.tasks import JUDGEMENTS

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


def test_every_task_is_judged_by_measures_of_its_form_and_has_an_objective() -> None:
    assert TASKS.keys() == JUDGEMENTS.keys() == OBJECTIVES.keys()
    for name, task in TASKS.items():
        for figure in (task.headline, *JUDGEMENTS[name].sliced):
            assert task.form in measures.MEASURES[figure].of, (name, figure)
