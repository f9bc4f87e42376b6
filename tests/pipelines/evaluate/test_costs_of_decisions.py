from __future__ import annotations

import numpy as np
import pytest

from pipelines.stages.evaluate.gates.conditions import COST
from pipelines.statistics import costs
from tests.pipelines.evaluate.slices.made import figures, predictions

MATRIX = ((0, 1), (9, 0))


def test_threshold_is_where_both_answers_cost_the_same() -> None:
    threshold = costs.best_threshold(MATRIX)
    assert threshold == 0.1
    assert threshold * MATRIX[1][0] == pytest.approx((1 - threshold) * MATRIX[0][1])
    # What a right answer costs or gains moves it as well.
    assert costs.best_threshold(((-1, 1), (9, -1))) == pytest.approx(2 / 12)


def test_no_threshold_costs_less_than_the_best_one_when_the_probabilities_are_right() -> None:
    random = np.random.default_rng(3)
    scores = random.random(50_000)
    outcomes = (random.random(50_000) < scores).astype(np.int8)

    def cost(threshold: float) -> float:
        answers = costs.served_answers("probability", scores, threshold)
        return float(costs.per_thousand(MATRIX, outcomes, answers).mean())

    best = costs.per_thousand(MATRIX, outcomes, costs.best_answers("probability", scores, MATRIX)).mean()
    assert best == cost(0.1)
    assert all(best < cost(threshold) for threshold in (0.02, 0.05, 0.2, 0.5))


def test_answer_among_several_labels_is_the_one_with_the_smallest_expected_cost() -> None:
    matrix = ((0, 1, 1), (1, 0, 1), (50, 50, 0))
    scores = np.array([[0.5, 0.45, 0.05], [0.6, 0.39, 0.01]])
    assert costs.best_answers("probabilities", scores, matrix).tolist() == [2, 0]
    assert costs.served_answers("probabilities", scores, 0.5).tolist() == [0, 0]
    assert costs.per_thousand(matrix, np.array([2, 1]), np.array([0, 0])).tolist() == [50_000, 1_000]


@pytest.mark.parametrize("matrix", [MATRIX, ((-5, 1), (9, -20))])
def test_better_answers_save_costs_and_add_to_gains(matrix: costs.Matrix) -> None:
    """Of the second matrix, the answers of both models gain more than they cost."""
    found = predictions("binary", worse="c")
    measured = figures("binary", found, {"decisions": {"costs": matrix}})
    model, live = (
        costs.per_thousand(matrix, found.outcomes, costs.served_answers("probability", found.scores[name], 0.5)).mean()
        for name in ("model", "live")
    )
    assert np.sign(model) == np.sign(live) == (1 if matrix == MATRIX else -1)
    compared = measured.compared(*measured.metrics()[COST], "live")
    assert compared["figure"] == pytest.approx((live - model) / abs(live))
    assert compared["lower_bound"] < compared["figure"] < compared["upper_bound"] < 0  # it turns group c round
