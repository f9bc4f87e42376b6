"""Calibration with intervals, against scikit-learn, brute force and known truths."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.params.params import Evaluate, Gates, TargetParams
from pipelines.stages.evaluate.gates import calibrated
from pipelines.stages.evaluate.gates.figures import Figures, Given
from pipelines.stages.evaluate.gates.predictions import Predictions
from pipelines.statistics import calibration, measures, parts
from pipelines.statistics.tasks import judgement

RANDOM = np.random.default_rng(11)
DAYS = np.repeat(np.arange(30), 40)
ODDS = RANDOM.normal(-1, 1.2, 1200)
SCORES = 1 / (1 + np.exp(-ODDS))
LABELS = (RANDOM.random(1200) < SCORES).astype(np.int8)


def test_error_as_measured_is_the_measure_and_resamplings_are_of_whole_days() -> None:
    (resampled,) = parts.resampled([calibration.error_of(LABELS, SCORES, DAYS)], DAYS, resamples=400, seed=1)
    assert resampled is not None
    found = resampled.figures
    assert found[0] == pytest.approx(measures.calibration_error(LABELS, SCORES))
    # By brute force: in the bins of all rows, over the rows of the drawn days.
    bins = np.empty(1200, np.int64)
    for index, part in enumerate(np.array_split(np.argsort(SCORES, kind="stable"), 10)):
        bins[part] = index
    brute = []
    for _ in range(400):
        rows = np.concatenate([np.flatnonzero(day == DAYS) for day in RANDOM.integers(0, 30, 30)])
        off = [abs((SCORES - LABELS)[rows[bins[rows] == bin_]].sum()) for bin_ in range(10)]
        brute.append(sum(off) / len(rows))
    assert np.percentile(found[1:], [5, 95]) == pytest.approx(np.percentile(brute, [5, 95]), abs=0.006)


@pytest.mark.parametrize("rows", [1, 7, 10])
def test_error_of_fewer_rows_than_bins_is_a_number(rows: int) -> None:
    found, influences = calibration.error_of(LABELS[:rows], SCORES[:rows], np.arange(rows)).of(np.ones((2, rows)))
    assert np.isfinite([*found, *influences.ravel()]).all()
    assert found[0] == pytest.approx(measures.calibration_error(LABELS[:rows], SCORES[:rows]))


def test_slope_and_intercept_are_those_of_scikit_learn() -> None:
    from sklearn.linear_model import LogisticRegression

    odds = 0.4 + 1.7 * ODDS
    found = calibration.recalibration(LABELS, 1 / (1 + np.exp(-odds)), DAYS)
    assert found is not None
    fitted = LogisticRegression(C=np.inf, tol=1e-10).fit(odds[:, None], LABELS)
    assert found["slope"]["figure"] == pytest.approx(float(fitted.coef_[0, 0]), abs=1e-4)
    low, high = found["slope"]["interval"]
    assert low < 1 / 1.7 < high < 1


def test_interval_is_wider_when_the_rows_of_a_day_are_alike() -> None:
    """Repeating each row forty times adds no evidence: by days the interval stays as it was, by rows it would shrink."""
    labels, scores = np.repeat(LABELS[:200], 40), np.repeat(SCORES[:200], 40)
    widths = []
    for clusters in (np.repeat(np.arange(200), 40), np.arange(8000)):
        found = calibration.recalibration(labels, scores, clusters)
        assert found is not None
        low, high = found["in_the_large"]["interval"]
        widths.append(high - low)
    alone = calibration.recalibration(LABELS[:200], SCORES[:200], np.arange(200))
    assert alone is not None
    low, high = alone["in_the_large"]["interval"]
    assert widths[0] == pytest.approx(high - low, rel=1e-3)
    assert widths[1] == pytest.approx((high - low) / 40**0.5, rel=0.02)


def test_calibration_in_the_large_is_seen() -> None:
    found = calibration.recalibration(LABELS, 1 / (1 + np.exp(1 - ODDS)), DAYS)
    assert found is not None
    low, high = found["in_the_large"]["interval"]
    assert low < 1 < high
    assert low > 0.5


@pytest.mark.parametrize(
    ("labels", "scores"),
    [
        (np.ones(30), SCORES[:30]),
        (LABELS[:30], np.full(30, 0.4)),
        (np.repeat([0, 1], 15), np.repeat([0.2, 0.9], 15)),  # separated: the slope is without end
    ],
)
def test_nothing_is_claimed_where_no_slope_can_be_fitted(labels: np.ndarray, scores: np.ndarray) -> None:
    assert calibration.recalibration(labels.astype(np.int8), scores, np.arange(30)) is None


def test_reliability_has_the_bins_of_the_error_with_bands_of_whole_days() -> None:
    found = calibration.reliability(LABELS, SCORES, DAYS, resamples=400, seed=1)
    bins = measures.calibration(LABELS, SCORES)
    assert [(each["predicted"], each["observed"], each["rows"]) for each in found] == [
        pytest.approx((each["score"], each["rate"], each["rows"])) for each in bins
    ]
    assert all(each["lower_bound"] <= each["observed"] <= each["upper_bound"] for each in found)
    # Rows of a day that are alike are one observation: the bands of the first 200 rows, and not narrower ones.
    alone = calibration.reliability(LABELS[:200], SCORES[:200], np.arange(200), resamples=400, seed=1)
    repeated = calibration.reliability(
        np.repeat(LABELS[:200], 9), np.repeat(SCORES[:200], 9), np.repeat(np.arange(200), 9), resamples=400, seed=1
    )
    widths = [np.mean([each["upper_bound"] - each["lower_bound"] for each in curve]) for curve in (alone, repeated)]
    assert widths[1] == pytest.approx(widths[0], rel=0.15)


def test_bin_whose_outcomes_are_all_alike_has_a_band_all_the_same() -> None:
    labels = np.repeat([0, 1], 100).astype(np.int8)
    first, *_, last = calibration.reliability(
        labels, np.linspace(0.1, 0.9, 200), np.arange(200) % 30, resamples=2000, seed=1
    )
    # Clopper and Pearson of 0 and of 20 among 20.
    assert (first["lower_bound"], first["upper_bound"]) == pytest.approx((0, 0.168), abs=1e-3)
    assert (last["lower_bound"], last["upper_bound"]) == pytest.approx((0.832, 1), abs=1e-3)


def test_rescaled_probabilities_are_those_of_scipy() -> None:
    from scipy.special import expit, logit

    found = calibration.rescaled(SCORES, 0.7, -0.2)
    expected = expit(0.7 * logit(SCORES) - 0.2).astype(np.float32)
    assert found == pytest.approx(expected, rel=2e-7)  # the step of single precision, which served scores have
    assert np.array_equal(found, found.astype(np.float32))
    assert np.isfinite(calibration.rescaled(np.array([0.0, 1.0]), 2.0, 0.0)).all()


def test_rescaled_probability_is_0_or_1_when_the_slope_is_without_end() -> None:
    assert calibration.rescaled(np.array([0.01, 0.99]), 1000, 0).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("slope", "days", "verdict", "said"),
    [
        (0.5, 30, "helps", "would have helped"),
        (2.0, 30, "harms", "would have harmed"),
        (1.0, 30, "undecided", "would have made no difference"),
        (0.5, 3, "undecided", "would have made no difference"),
    ],
)
def test_recalibration_on_the_validation_rows_is_judged_on_the_hold_out(
    slope: float, days: int, verdict: str, said: str
) -> None:
    """The scores are twice too extreme where the slope mends them, else right; three days decide nothing."""
    served = SCORES.astype(np.float32).astype(np.float64)
    scores = calibration.rescaled(served, 2.0, 0.0) if slope < 1 else served
    named = {"model": scores, "recalibrated": calibration.rescaled(scores, slope, 0.0)}
    target = TargetParams.model_validate({"column": "late", "task": "binary", "labels": ["no", "yes"]})
    given = Given(target, Evaluate(bootstrap=300), Gates(), 7, "days")
    predictions = Predictions(LABELS, DAYS % days, named, None)
    found = calibrated.recalibration(Figures(given, predictions, judgement(target)))
    assert found is not None
    assert found["on_validation"]["verdict"] == verdict
    assert said in found["on_validation"]["sentence"]
    assert "stopped the training" in found["on_validation"]["sentence"]
    if verdict == "helps":
        assert found["on_validation"]["calibration_error"]["lower_bound"] > 0


def test_model_that_is_calibrated_is_compared_with_itself_without_it() -> None:
    named = {"model": SCORES, "uncalibrated": calibration.rescaled(SCORES, 2.0, 0.0)}
    target = TargetParams.model_validate({"column": "late", "task": "binary", "labels": ["no", "yes"]})
    given = Given(target, Evaluate(bootstrap=300), Gates(), 7, "days")
    found = calibrated.on_validation(Figures(given, Predictions(LABELS, DAYS, named, None), judgement(target)))
    assert found is not None
    assert found["sentence"].startswith("Recalibrating on the validation rows helped")
