"""Calibration with intervals, against scikit-learn, brute force and known truths."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.statistics import calibration, measures

RANDOM = np.random.default_rng(11)
DAYS = np.repeat(np.arange(30), 40)
ODDS = RANDOM.normal(-1, 1.2, 1200)
SCORES = 1 / (1 + np.exp(-ODDS))
LABELS = (RANDOM.random(1200) < SCORES).astype(np.int8)


def test_error_as_measured_is_the_measure_and_resamplings_are_of_whole_days() -> None:
    found = calibration.errors(LABELS, SCORES, DAYS, resamples=400, seed=1)
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
    found = calibration.errors(LABELS[:rows], SCORES[:rows], np.arange(rows), resamples=20, seed=1)
    assert np.isfinite(found).all()
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
