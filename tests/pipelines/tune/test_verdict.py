"""The best of many trials is not better than the defaults by luck."""

from __future__ import annotations

import numpy as np

from pipelines.models.tuning import BETTER, NO_BETTER
from pipelines.stages.tune.study import Trial
from pipelines.stages.tune.verdict import judged

DAYS = 31
COUNTS = np.full(DAYS, 100)


def _trials(gains: list[float], noise: float, seed: int) -> list[Trial]:
    """The defaults, and a trial for each gain in mean loss, by days that are noisy together and each for itself."""
    draw = np.random.default_rng(seed)
    shared = draw.normal(0.5, 0.2, DAYS)
    losses = [shared, *(shared - gain + draw.normal(0, noise, DAYS) for gain in gains)]
    return [
        Trial({"max_depth": 3 + index} if index else {}, float(loss.mean()), 10, (loss * COUNTS).tolist())
        for index, loss in enumerate(losses)
    ]


def test_verdict_is_better_when_the_gain_is_larger_than_luck() -> None:
    verdict, evidence = judged(_trials([0.0, 0.05, 0.01], 0.02, seed=1), COUNTS, seed=1)
    assert verdict == BETTER
    assert evidence["best"] == {"max_depth": 5}
    assert 0 < evidence["lower_bound"] < evidence["gain"] < 0.07
    assert evidence["gain"] == float(f"{evidence['loss_of_defaults'] - evidence['loss']:.6g}") or np.isclose(
        evidence["gain"], evidence["loss_of_defaults"] - evidence["loss"], rtol=1e-4
    )


def test_verdict_is_seldom_better_when_all_trials_are_equal_but_for_noise() -> None:
    found = [judged(_trials([0.0] * 19, 0.05, seed), COUNTS, seed=seed)[0] for seed in range(40)]
    assert found.count(BETTER) <= 6  # 5 % are expected; a bound for each trial alone would find one in most
    alone = [judged(_trials([0.0] * 19, 0.05, seed)[:2], COUNTS, seed=seed)[0] for seed in range(40)]
    assert alone.count(BETTER) <= 6


def test_verdict_is_no_better_when_the_defaults_are_best_or_alone() -> None:
    assert judged(_trials([-0.1, -0.2], 0.0, seed=1), COUNTS, seed=1)[0] == NO_BETTER
    verdict, evidence = judged(_trials([], 0.0, seed=1), COUNTS, seed=1)
    assert (verdict, evidence["compared"]) == (NO_BETTER, 0)


def test_verdict_is_no_better_when_there_are_few_days() -> None:
    trials = [trial._replace(sums=(trial.sums or [])[:10]) for trial in _trials([0.1], 0.01, seed=1)]
    assert judged(trials, COUNTS[:10], seed=1)[0] == NO_BETTER
    assert judged(trials, COUNTS[:10], seed=1, fewest=10)[0] == BETTER


def test_pruned_trials_are_not_compared() -> None:
    trials = _trials([0.05], 0.01, seed=1)
    pruned = Trial({"max_depth": 9}, None, 3, None)
    assert judged([trials[0], pruned, trials[1]], COUNTS, seed=1) == judged(trials, COUNTS, seed=1)
