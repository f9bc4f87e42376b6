"""Bounds from resamplings of few clusters, by literal figures."""

from __future__ import annotations

import numpy as np
import pytest

from pipelines.statistics import bounds, comparisons, parts

# As measured, then of four resamplings: the last has no error, as of one cluster that was drawn every time.
FIGURES, ERRORS = np.array([2.0, 1.0, 2.5, 4.0, 3.0]), np.array([0.5, 1.0, 0.25, 2.0, 0.0])


# Student's t of 97.5 % with n - 1 degrees of freedom, from a table, for 1.959964, times the root of n / (n - 1).
@pytest.mark.parametrize(
    ("clusters", "factor"),
    [(2, 12.7062 * 2**0.5), (20, 2.093024 * (20 / 19) ** 0.5), (31, 2.042272 * (31 / 30) ** 0.5)],
)
def test_bounds_of_few_clusters_are_wider_as_students_t_is(clusters: int, factor: float) -> None:
    assert bounds.widening(clusters) == pytest.approx(factor / 1.959964, rel=2e-6)
    spread = bounds.widened(np.array([1.0, 0.0, 3.0]), clusters)
    assert spread.tolist() == [1, 1 - bounds.widening(clusters), 1 + 2 * bounds.widening(clusters)]


@pytest.mark.parametrize("clusters", [0, 1, 10**7])
def test_bounds_of_one_cluster_and_of_endlessly_many_are_not_widened(clusters: int) -> None:
    assert bounds.widening(clusters) == 1


def test_figure_is_measured_in_its_own_error_and_widened() -> None:
    factor = bounds.widening(31)
    moved = [2 + 0.5 * 1 / 1, 2 - 0.5 * 0.5 / 0.25, 2 - 0.5 * 2 / 2, 3]
    expected = [2, *(2 + factor * (each - 2) for each in moved)]
    assert bounds.studentized(FIGURES, ERRORS, 31) == pytest.approx(expected)


def test_bounds_of_a_difference_are_as_far_from_it_on_both_sides() -> None:
    found = bounds.studentized(FIGURES, ERRORS, 31, is_difference=True)
    assert found.tolist() == [2, 2.5, 1, 1.5, 3, 1.5, 3, 2.5, 1]
    shown = comparisons.bounded(found)
    assert shown["upper_bound"] - 2 == pytest.approx(2 - shown["lower_bound"])


def test_figure_without_errors_has_percentiles_that_are_widened() -> None:
    found = bounds.studentized(np.array([1.0, 0.5, 1.5]), np.zeros(3), 20)
    assert found == pytest.approx([1, 1 - bounds.widening(20) / 2, 1 + bounds.widening(20) / 2])


def test_part_in_few_clusters_is_widened_for_those() -> None:
    random = np.random.default_rng(6)
    clusters, values = np.repeat(np.arange(30), 20), random.random(600)
    rows = clusters < 8
    of_a_figure, of_a_difference = (
        parts.mean(values[rows], clusters[rows], is_difference=is_difference) for is_difference in (False, True)
    )
    figure, difference = parts.resampled([of_a_figure, of_a_difference], clusters, resamples=500, seed=3)
    assert figure is not None
    assert difference is not None
    unwidened = difference.bounds[: len(figure.bounds)]
    assert figure.bounds == pytest.approx(bounds.widened(unwidened, 8), nan_ok=True)
