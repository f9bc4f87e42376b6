"""A short version of the drill of verdicts: hold-outs whose truth is known, judged by the code of the gates."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from drills.training import coverage, slices, verdicts


@pytest.fixture(scope="module")
def counted() -> Iterator[verdicts.Tally]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(verdicts, "_TRUTH_ROWS", 100_000)
        yield verdicts.tally(verdicts.Month(rows=150), 60, seed=5)


# Of 60 replications, what happens with a chance of less than one in ten thousand if the promise holds.


def test_intervals_by_days_hold_the_truth_and_those_by_rows_do_not(counted: verdicts.Tally) -> None:
    assert counted.covered >= 48
    assert counted.naive_covered < counted.covered
    assert counted.width > 1.15 * counted.naive_width


def test_counts_are_plain_numbers_which_the_results_can_hold(counted: verdicts.Tally) -> None:
    assert {type(value) for value in vars(counted).values()} == {int, float}


def test_model_that_is_worse_by_the_margin_is_seldom_promoted(counted: verdicts.Tally) -> None:
    assert counted.promoted <= 11


def test_one_of_two_equally_good_models_is_seldom_shown_to_be_better(counted: verdicts.Tally) -> None:
    found = (counted.better, counted.better_in_log_loss, counted.better_in_calibration)
    assert max(found) <= 11
    assert counted.found > counted.promoted


def test_noise_of_the_inferior_model_costs_exactly_the_margin(counted: verdicts.Tally) -> None:
    month = verdicts.Month(rows=150)
    worse = verdicts.inferior_noise(month)
    assert verdicts.truth(month, month.noise) - verdicts.truth(month, worse) == pytest.approx(0.01, abs=2e-5)


def test_intervals_of_slices_hold_the_truth(counted: verdicts.Tally) -> None:
    """Of 60 slices of 54 rows a day; `counted` has found the truth, which is that of all such months."""
    found = slices.tally(verdicts.Month(rows=150), 54 / 150, 60, seed=5)
    assert (found.slices, found.left_out) == (60, 0)
    assert found.covered >= 48
    assert found.differences >= 48


@pytest.mark.parametrize("kind", coverage.KINDS)
def test_intervals_of_every_measure_hold_the_truth(kind: str) -> None:
    month = verdicts.Month(rows=150)
    truth = coverage.truths(kind, month, days=400)
    found = coverage.tally(kind, month, 60, 5, truth)
    assert found.keys() == truth.keys()
    assert min(each.covered for each in found.values()) >= 46
    assert max(max(each.below, each.above) for each in found.values()) <= 14


def test_bounds_of_a_slice_are_those_of_its_rows_alone() -> None:
    from pipelines.statistics import comparisons, parts

    random = np.random.default_rng(8)
    labels, days = random.integers(0, 2, 900).astype(np.int8), np.repeat(np.arange(30), 30)
    scores = labels * 0.4 + random.random(900) + random.normal(0, 0.3, 30)[days]
    rows = random.random(900) < 0.3
    (found,) = parts.resampled([parts.area(labels[rows], scores[rows], days[rows])], days, resamples=4000, seed=1)
    assert found is not None
    slice_, whole = (
        found.bounds,
        comparisons.areas(labels[rows], scores[rows], days[rows], resamples=4000, seed=2),
    )
    assert slice_[0] == whole[0]
    assert np.percentile(slice_, [5, 95]) == pytest.approx(np.percentile(whole, [5, 95]), abs=0.006)
    # Percentiles of the resamplings lie elsewhere: what is tested is not that.
    assert abs(np.percentile(found.figures, 5) - np.percentile(whole, 5)) > 0.02


def test_bounds_do_not_exceed_what_a_difference_can_be_when_there_are_few_days() -> None:
    from pipelines.statistics import comparisons

    labels, days = np.array([1, 0, 1, 0, 1, 0], np.int8), np.array([0, 0, 1, 1, 2, 2])
    scores, perfect = np.array([0.9, 0.2, 0.3, 0.4, 0.8, 0.1]), labels.astype(np.float64)
    values = comparisons.areas(labels, scores, days, resamples=200, seed=1, others=perfect)
    assert np.isfinite(values).all()
    assert (np.abs(values) <= 1).all()
    assert set(comparisons.areas(labels, perfect, days, resamples=200, seed=1)) == {1.0}


@pytest.mark.parametrize("rows", [6, 40])
def test_error_of_resampled_days_is_that_of_the_jackknife(rows: int) -> None:
    from sklearn.metrics import roc_auc_score

    from pipelines.statistics import measures

    random, size = np.random.default_rng(rows), 60
    labels, days = random.integers(0, 2, size * rows).astype(np.int8), np.repeat(np.arange(size), rows)
    scores = labels * 0.5 + random.random(size * rows) + random.normal(0, 0.3, size)[days]
    pairs = measures.concordance(labels, scores, days)
    counts = [np.bincount(days[labels == value], minlength=size).astype(np.float64) for value in (1, 0)]
    _, (error,) = measures.areas_and_errors(np.ones((1, size)), pairs, *counts)
    without = [roc_auc_score(labels[days != day], scores[days != day]) for day in range(size)]
    assert error == pytest.approx(np.sqrt((size - 1) / size * np.sum((without - np.mean(without)) ** 2)), rel=0.06)


def test_error_of_delong_is_that_of_resampled_rows() -> None:
    random = np.random.default_rng(4)
    labels = random.integers(0, 2, 400).astype(np.int8)
    scores = labels * 0.4 + random.random(400)
    area, error = verdicts.delong(labels, scores)
    from pipelines.statistics import comparisons

    values = comparisons.areas(labels, scores, np.arange(400), resamples=2000, seed=1)
    assert area == pytest.approx(values[0])
    assert error == pytest.approx(values[1:].std(), rel=0.08)
