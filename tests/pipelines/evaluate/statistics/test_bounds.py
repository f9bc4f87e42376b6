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
    assert bounds.narrowness(clusters) == pytest.approx(1, abs=1e-7)


def test_figure_is_measured_in_its_own_error_and_widened() -> None:
    factor = bounds.widening(31)
    moved = [2 + 0.5 * 1 / 1, 2 - 0.5 * 0.5 / 0.25, 2 - 0.5 * 2 / 2, 3]
    expected = [2, *(2 + factor * (each - 2) for each in moved)]
    assert bounds.studentized(FIGURES, ERRORS, 31) == pytest.approx(expected)


def test_bounds_of_a_difference_are_as_far_from_it_on_both_sides() -> None:
    found = bounds.studentized(FIGURES, ERRORS, 31, is_difference=True)
    apart = (31 / 30) ** 0.5 * np.array([0, 0.5, -1, -0.5, 1, -0.5, 1, 0.5, -1])
    assert found == pytest.approx(2 + apart)
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
    # Both by the root of 8 / 7; a figure's by Student's t with 7 degrees of freedom as well, from a table.
    unwidened = (difference.bounds[: len(figure.bounds)] - difference.bounds[0]) / (8 / 7) ** 0.5
    assert figure.bounds == pytest.approx(
        figure.bounds[0] + 2.364624 / 1.959964 * (8 / 7) ** 0.5 * unwidened, abs=1e-5, nan_ok=True
    )


@pytest.mark.parametrize(("successes", "rows"), [(0, 110), (1, 110), (2, 140), (30, 60), (110, 110)])
def test_share_has_at_least_the_exact_bounds_of_independent_rows(successes: int, rows: int) -> None:
    from scipy.stats import binom

    clusters, values = np.arange(rows) % 20, np.arange(rows) < successes
    (found,) = parts.resampled([parts.share(values, clusters)], clusters, resamples=400, seed=1)
    assert found is not None
    shown = comparisons.bounded(found.bounds)
    assert shown["figure"] == successes / rows
    # So few successes have a chance of 5 % at the upper bound at most, and so many at the lower one.
    assert binom.cdf(successes, rows, shown["upper_bound"]) <= (0.0501 if successes < rows else 1)
    assert binom.sf(successes - 1, rows, shown["lower_bound"]) <= (0.0501 if successes else 1)
    if not successes:
        assert shown["upper_bound"] == pytest.approx(1 - 0.05 ** (1 / rows), abs=1e-6)


def test_share_of_alike_clusters_has_the_exact_bounds_and_one_of_unlike_clusters_wider_ones() -> None:
    clusters = np.repeat(np.arange(30), 20)
    shares = [parts.share(np.arange(600) % 2 == 0, clusters), parts.share(clusters % 2 == 0, clusters)]
    alike, unlike = (
        comparisons.bounded(each.bounds)
        for each in parts.resampled(shares, clusters, resamples=2000, seed=1)
        if each is not None
    )
    # Clopper and Pearson of 300 among 600, from a table.
    assert (alike["lower_bound"], alike["upper_bound"]) == pytest.approx((0.4656, 0.5344), abs=2e-4)
    assert unlike["lower_bound"] < 0.37
    assert unlike["upper_bound"] > 0.63


def test_gap_of_rare_shares_has_at_least_the_bounds_of_newcombe() -> None:
    clusters = np.arange(220) % 20
    first = np.arange(220) < 110
    one = parts.share(np.isin(np.arange(220), [5]), clusters, first)
    other = parts.share(np.isin(np.arange(220), [115, 116]), clusters, ~first)
    (found,) = parts.resampled([other - one], clusters, resamples=400, seed=1)
    assert found is not None
    shown = comparisons.bounded(found.bounds)
    # Exact one-sided bounds of 1 of 110: 0.000466 and 0.042399; of 2 of 110: 0.003240 and 0.056127.
    p, q = 1 / 110, 2 / 110
    assert shown["upper_bound"] >= q - p + np.hypot(0.056127 - q, p - 0.000466) - 1e-4
    assert shown["lower_bound"] <= q - p - np.hypot(0.042399 - p, q - 0.003240) + 1e-4
