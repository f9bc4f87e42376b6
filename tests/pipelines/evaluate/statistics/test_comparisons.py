from __future__ import annotations

from datetime import datetime

import numpy as np
import polars as pl
import pytest

from pipelines.data.clusters import clusters_of
from pipelines.params.params import GroupedSplit, StratifiedSplit
from pipelines.statistics import comparisons
from pipelines.statistics.tasks import JUDGEMENTS

RESAMPLING = {"resamples": 500, "seed": 1}


def test_auc_difference_resamples_whole_days_in_pairs() -> None:
    from sklearn.metrics import roc_auc_score

    random = np.random.default_rng(5)
    days = np.repeat(np.arange(20), 30)
    labels = (random.random(600) < 0.4).astype(np.int8)
    good = labels * 0.5 + random.random(600)
    bad = random.random(600)
    found = comparisons.bounded(comparisons.differences(JUDGEMENTS["logistic"], labels, good, bad, days, **RESAMPLING))
    assert found["figure"] == pytest.approx(roc_auc_score(labels, good) - roc_auc_score(labels, bad))
    # the same bound by brute force: whole days drawn, both areas measured on the same rows
    brute = []
    for _ in range(300):
        rows = np.concatenate([np.flatnonzero(days == day) for day in random.integers(0, 20, 20)])
        brute.append(roc_auc_score(labels[rows], good[rows]) - roc_auc_score(labels[rows], bad[rows]))
    bounds = (found["lower_bound"], found["upper_bound"])
    assert bounds == pytest.approx(np.percentile(brute, [5, 95]), abs=0.02)


def test_weighted_areas_agree_with_scikit_learn_when_scores_tie() -> None:
    from sklearn.metrics import roc_auc_score

    random = np.random.default_rng(6)
    labels, scores = random.integers(0, 2, 300), random.integers(0, 40, 300) / 40
    weights = random.integers(0, 4, (5, 300)).astype(float)
    expected = [roc_auc_score(labels, scores, sample_weight=entry) for entry in weights]
    assert comparisons.weighted_areas(labels, scores, weights) == pytest.approx(expected)


def test_many_clusters_give_the_bound_that_few_ones_give(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(7)
    clusters, labels = np.repeat(np.arange(50), 10), random.integers(0, 2, 500).astype(np.int8)
    good, bad = labels * 0.3 + random.random(500), random.random(500)
    few = comparisons.differences(JUDGEMENTS["logistic"], labels, good, bad, clusters, resamples=2000, seed=1)
    monkeypatch.setattr(comparisons, "_FEW_CLUSTERS", 0)
    many = comparisons.differences(JUDGEMENTS["logistic"], labels, good, bad, clusters, resamples=2000, seed=1)
    assert many[0] == pytest.approx(few[0])
    assert np.percentile(many, [5, 95]) == pytest.approx(np.percentile(few, [5, 95]), abs=0.01)


@pytest.mark.parametrize("objective", ["logistic", "softmax", "squared_error", "poisson"])
def test_difference_of_a_model_with_itself_is_nothing(objective: str) -> None:
    random = np.random.default_rng(8)
    outcomes = random.integers(0, 2, 40)
    scores = random.dirichlet([1, 1, 1], 40) if objective == "softmax" else random.random(40)
    found = comparisons.differences(JUDGEMENTS[objective], outcomes, scores, scores, np.arange(40), **RESAMPLING)
    assert comparisons.bounded(found) == {"figure": 0, "lower_bound": 0, "upper_bound": 0}


def test_loss_is_compared_as_a_share_of_the_other_one_over_whole_clusters_in_pairs() -> None:
    values = np.zeros(6)
    clusters = np.array([0, 0, 0, 0, 1, 2])
    scores, others = np.full(6, 1.0), np.array([2.0, 2.0, 2.0, 2.0, 1.0, 0.0])
    found = comparisons.differences(
        JUDGEMENTS["squared_error"], values, scores, others, clusters, resamples=1000, seed=1
    )
    # 11 of 17 are saved; a row saves what it would by that share, and a difference: 3 - 11 / 17 × 4, and so on.
    gains, other = np.array([3, 3, 3, 3, 0, -1.0]), 17 / 6
    apart = gains - 11 / 17 * others**2
    assert found[0] == pytest.approx(11 / 17)

    def by_hand(drawn: tuple[int, ...]) -> tuple[float, float]:
        each = [apart[clusters == cluster] for cluster in drawn]
        mean = np.concatenate(each).mean()
        return mean, np.sqrt(sum((values - mean).sum() ** 2 for values in each)) / sum(map(len, each))

    # Three clusters are drawn from three: all ways to do that, each in its own standard error, mirrored, and by the root of 3 / 2.
    mean, error = by_hand((0, 1, 2))
    ways = [by_hand(drawn) for drawn in np.ndindex(3, 3, 3)]
    studentized = [mean - error * (each - mean) / own if own > 0 else each for each, own in ways]
    both = [*studentized, *(2 * mean - each for each in studentized)]
    possible = {round(min(11 / 17 + 1.5**0.5 * each / other, 1.0), 6) for each in both}  # no more can be saved
    assert set(found.round(6).tolist()) == possible


def test_share_that_is_saved_on_every_day_has_no_spread_however_hard_the_days_are() -> None:
    days = np.repeat(np.arange(20), 30)
    others = np.random.default_rng(9).exponential(1 + days % 5)
    found = comparisons.bounded(comparisons.saved(others * 0.75, others, days, **RESAMPLING))
    assert tuple(found.values()) == pytest.approx((0.25, 0.25, 0.25))
    # The spread of a share that differs by day, by brute force: both losses of whole days that are drawn.
    losses = others * (0.75 + 0.1 * (days % 3))
    found = comparisons.bounded(comparisons.saved(losses, others, days, resamples=4000, seed=1))
    random, sums = np.random.default_rng(1), [np.bincount(days, each) for each in (losses, others)]
    drawn = (random.integers(0, 20, 20) for _ in range(4000))
    shares = [1 - sums[0][each].sum() / sums[1][each].sum() for each in drawn]
    assert found["figure"] == pytest.approx(1 - losses.sum() / others.sum())
    half = (found["upper_bound"] - found["lower_bound"]) / 2
    assert half == pytest.approx(1.73 * np.std(shares), rel=0.08)  # Student's t of 95 % with 19 degrees of freedom


@pytest.mark.parametrize(("losses", "figure"), [([0.0, 0.0, 0.0, 0.0], 0.0), ([1.0, 0.0, 2.0, 1.0], -1.0)])
def test_perfect_other_model_leaves_nothing_to_save(losses: list[float], figure: float) -> None:
    found = comparisons.saved(np.array(losses), np.zeros(4), np.arange(4), **RESAMPLING)
    assert found[0] == figure
    assert np.isfinite(found).all()


def test_more_of_a_gain_is_saved_and_not_lost() -> None:
    """Costs below 0 are gains: 6 in place of 4 saves half of their size, 2 in place of 4 loses as much."""
    random = np.random.default_rng(2)
    others, noise = random.normal(-4, 1, 60), random.normal(0, 0.3, 60)
    others, noise = others - others.mean() - 4, noise - noise.mean()
    for more, share in ((2, 0.5), (-2, -0.5), (6, 1.5)):
        found = comparisons.bounded(comparisons.saved(others - more + noise, others, np.arange(60), **RESAMPLING))
        assert found["figure"] == pytest.approx(share)
        assert share - 0.3 < found["lower_bound"] < share < found["upper_bound"] < share + 0.3


def test_perfect_model_saves_all_for_certain() -> None:
    others = np.array([1.0, 0.5, 2.0, 0.1])
    assert set(comparisons.saved(np.zeros(4), others, np.arange(4), **RESAMPLING)) == {1.0}


def test_clusters_are_days_or_entities_or_rows() -> None:
    at = [datetime(2024, 1, 5, 3), datetime(2024, 1, 9), datetime(2024, 1, 5, 23)]
    table = pl.DataFrame({"at": at, "shop": ["b", "a", "a"]})
    grouped = GroupedSplit(kind="grouped", column="shop")
    numbered = {
        unit: clusters.tolist()
        for clusters, unit in (
            clusters_of(table, "at", grouped),
            clusters_of(table, None, grouped),
            clusters_of(table, None, StratifiedSplit(kind="stratified")),
        )
    }
    assert numbered == {"days": [0, 1, 0], "entities": [1, 0, 0], "rows": [0, 1, 2]}
