from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest

from contract.schema.tasks import TASKS
from pipelines.models.families.trees import OBJECTIVES
from pipelines.params.params import Evaluate, Gates, TargetParams
from pipelines.stages.evaluate.gates import answers
from pipelines.stages.evaluate.gates.figures import Figures, Given
from pipelines.stages.evaluate.gates.predictions import Predictions
from pipelines.statistics import losses, measures
from pipelines.statistics.tasks import JUDGEMENTS, judgement

LABELS = np.array([1, 0, 1, 0, 0, 1, 0, 1], np.int8)
SCORES = np.array([0.9, 0.2, 0.4, 0.4, 0.1, 0.7, 0.8, 0.3])
DAYS = np.array([0, 0, 0, 1, 1, 1, 2, 2])


def _auc_by_pairs(labels: np.ndarray, scores: np.ndarray) -> float:
    pairs = [(p > n) + 0.5 * (p == n) for p, n in product(scores[labels == 1], scores[labels == 0])]
    return sum(pairs) / len(pairs)


def test_measure_agrees_with_the_formulas() -> None:
    measured = measures.measure("probability", LABELS, SCORES)
    assert measured["roc_auc"] == pytest.approx(_auc_by_pairs(LABELS, SCORES))
    assert measured["brier"] == pytest.approx(np.mean((SCORES - LABELS) ** 2))
    expected = -np.mean(np.where(LABELS == 1, np.log(SCORES), np.log(1 - SCORES)))
    assert measured["log_loss"] == pytest.approx(expected)


def test_measure_leaves_areas_out_when_one_class_is_missing() -> None:
    assert "roc_auc" not in measures.measure("probability", np.zeros(4, np.int8), SCORES[:4])


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
    measured = measures.measure("probabilities", codes, scores)
    assert measured["log_loss"] == pytest.approx(metrics.log_loss(codes, scores))
    assert measured["roc_auc"] == pytest.approx(
        metrics.roc_auc_score(codes, scores, multi_class="ovr", average="macro")
    )
    assert measured["accuracy"] == np.mean(
        [scores[row].tolist().index(max(scores[row])) == codes[row] for row in range(200)]
    )
    assert "roc_auc" not in measures.measure("probabilities", codes[codes < 2], scores[codes < 2])


def test_calibration_of_many_labels_is_that_of_the_most_probable_one() -> None:
    scores = np.tile([0.7, 0.2, 0.1], (10, 1))
    codes = np.array([0] * 6 + [1, 1, 2, 2])  # right in six of ten, at a confidence of 0.7; ten bins of one row
    expected = (6 * abs(0.7 - 1) + 4 * 0.7) / 10
    assert measures.measure("probabilities", codes, scores)["calibration_error"] == pytest.approx(expected)


def test_log_loss_is_finite_when_a_label_was_given_no_chance() -> None:
    assert 30 < losses.log_losses(np.array([0]), np.array([[0.0, 1.0]]))[0] < 40


def test_measure_of_numbers_agrees_with_scikit_learn() -> None:
    from sklearn import metrics

    random = np.random.default_rng(4)
    values = random.normal(50, 10, 300)
    scores = values + random.normal(1, 3, 300)
    measured = measures.measure("value", values, scores)
    assert measured["rmse"] == pytest.approx(metrics.root_mean_squared_error(values, scores))
    assert measured["mae"] == pytest.approx(metrics.mean_absolute_error(values, scores))
    assert measured["r2"] == pytest.approx(metrics.r2_score(values, scores))
    assert "r2" not in measures.measure("value", np.ones(4), np.zeros(4))


def test_every_objective_can_be_learned_and_judged_by_measures_of_its_form() -> None:
    by_name = {objective.name: task for task in TASKS.values() for objective in task.objectives}
    assert by_name.keys() == JUDGEMENTS.keys() == OBJECTIVES.keys()
    for name, task in by_name.items():
        found = JUDGEMENTS[name]
        assert found.form == task.form
        assert found.headline in measures.MEASURES
    for task in TASKS.values():
        assert JUDGEMENTS[task.objective(None).name].headline == task.headline


@pytest.mark.parametrize(
    ("target", "headline", "peer"),
    [
        ({"objective": "absolute_error"}, "mae", "mean_absolute_error"),
        ({"objective": "poisson"}, "deviance", "mean_poisson_deviance"),
        ({"objective": "gamma"}, "deviance", "mean_gamma_deviance"),
        ({"objective": "tweedie", "power": 1.3}, "deviance", "mean_tweedie_deviance"),
    ],
)
def test_headline_of_an_objective_agrees_with_scikit_learn(target: dict[str, Any], headline: str, peer: str) -> None:
    from sklearn import metrics

    random = np.random.default_rng(4)
    values, scores = random.gamma(2, 3, 300) + 0.1, random.gamma(2, 3, 300) + 0.1
    judged = judgement(TargetParams(column="y", task="regression", **target))
    more = {"power": target["power"]} if "power" in target else {}
    assert judged.headline == headline
    assert judged.measure(values, scores)[headline] == pytest.approx(getattr(metrics, peer)(values, scores, **more))
    if target["objective"] in ("poisson", "tweedie"):
        assert np.isfinite(judged.losses(np.zeros(2), np.array([-1.0, 3.0]))).all()


def test_huber_loss_is_half_the_square_of_small_errors_and_grows_with_the_slope() -> None:
    judged = judgement(TargetParams(column="y", task="regression", objective="huber", slope=2.0))
    small, large, larger = judged.losses(np.zeros(3), np.array([0.01, 1000.0, 1001.0])).tolist()
    assert small == pytest.approx(0.01**2 / 2, rel=1e-4)
    assert larger - large == pytest.approx(2.0, rel=1e-4)


def test_pinball_loss_and_coverage_are_those_of_every_quantile() -> None:
    from sklearn import metrics

    random = np.random.default_rng(4)
    values, levels = random.normal(0, 1, 500), (0.1, 0.5, 0.9)
    scores = np.sort(random.normal(0, 1, (500, 3)), axis=1)
    expected = [metrics.mean_pinball_loss(values, scores[:, index], alpha=level) for index, level in enumerate(levels)]
    judged = judgement(TargetParams(column="y", task="quantiles", quantiles=levels))
    assert judged.measure(values, scores) == {"pinball_loss": pytest.approx(np.mean(expected))}
    made = Predictions(values, np.arange(500) % 25, {"model": scores}, None)
    given = Given(
        TargetParams(column="y", task="quantiles", quantiles=levels), Evaluate(bootstrap=100), Gates(), 1, "days"
    )
    found = answers.answers(Figures(given, made, judged))
    assert [found[f"pinball_loss: {level:g}"]["figure"] for level in levels] == pytest.approx(expected)
    covered = np.mean([value <= row[2] for value, row in zip(values, scores, strict=True)])
    assert found["coverage: 0.9"]["figure"] == pytest.approx(covered)


@pytest.mark.parametrize("labels", [1, 2])
def test_measures_of_a_probability_agree_with_scikit_learn_when_scores_tie(labels: int) -> None:
    from sklearn import metrics
    from sklearn.calibration import calibration_curve

    random = np.random.default_rng(labels)
    scores = random.integers(1, 20, 400) / 20
    outcomes = (random.random(400) < scores**labels).astype(np.int8)
    measured = measures.measure("probability", outcomes, scores)
    assert measured["roc_auc"] == pytest.approx(metrics.roc_auc_score(outcomes, scores))
    assert measured["pr_auc"] == pytest.approx(metrics.average_precision_score(outcomes, scores))
    assert measured["log_loss"] == pytest.approx(metrics.log_loss(outcomes, scores))
    assert measured["brier"] == pytest.approx(metrics.brier_score_loss(outcomes, scores))
    # Ties fall on both sides of a bin's edge here, and on one side there; distinct scores have the same bins.
    distinct = random.permutation(np.linspace(0.01, 0.99, 400))
    outcomes = (random.random(400) < distinct).astype(np.int8)
    rates, means = calibration_curve(outcomes, distinct, n_bins=10, strategy="quantile")
    assert measures.calibration_error(outcomes, distinct) == pytest.approx(np.abs(rates - means).mean(), rel=1e-6)


def test_losses_of_rows_have_the_means_of_scikit_learn() -> None:
    from sklearn import metrics

    random = np.random.default_rng(9)
    labels, chances = random.integers(0, 2, 300), random.uniform(0.01, 0.99, 300)
    pairs = np.stack([1 - chances, chances], axis=1)
    assert losses.log_losses(labels, pairs).mean() == pytest.approx(metrics.log_loss(labels, chances))
    assert losses.squared_errors(labels, chances).mean() == pytest.approx(metrics.brier_score_loss(labels, chances))
    values, predicted = random.gamma(2, 3, 300), random.gamma(2, 3, 300)
    assert losses.absolute_errors(values, predicted).mean() == pytest.approx(
        metrics.mean_absolute_error(values, predicted)
    )
