"""Whether the best trial is better than the defaults, or only the luckiest of many; pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.models.tuning import BETTER, NO_BETTER
from pipelines.stages.tune.study import Trial
from pipelines.statistics.bounds import widening
from pipelines.statistics.comparisons import resampled_ratios

FEWEST = 20
_RESAMPLES = 2000


def judged(
    trials: Sequence[Trial], counts: NDArray[Any], *, seed: int, fewest: int = FEWEST
) -> tuple[str, dict[str, Any]]:
    """Return the verdict on the trial with the lowest loss, against the first one, and its evidence.

    The gain is the difference of mean losses on the validation rows, paired, with a one-sided 95 % lower bound by resampling whole
    clusters. The bound is for the largest gain of all trials: the best of twenty equals is better than the defaults by chance.

    Args:
        counts: the rows of each group of rows, or the sum of their weights, as `Trial.sums` has their losses.
        fewest: groups below which nothing is decided.

    Source: White 2000, A Reality Check for Data Snooping; of `FEWEST`, that of `gates.clusters`.
    """
    scored = [trial for trial in trials if trial.sums is not None]
    defaults, others = scored[0], scored[1:]
    evidence: dict[str, Any] = {
        "clusters": len(counts),
        "loss_of_defaults": _short(defaults.loss),
        "compared": len(others),
    }
    if not others:
        return NO_BETTER, evidence
    gains = np.stack([_gains(defaults, other, counts, seed) for other in others])
    best = others[int(np.argmax(gains[:, 0]))]
    luck = np.max(gains[:, 1:] - gains[:, :1], axis=0)
    gain = float(np.max(gains[:, 0]))
    bound = gain - widening(len(counts)) * float(np.percentile(luck, 95))
    evidence |= {
        "loss": _short(best.loss),
        "gain": _short(gain),
        "lower_bound": _short(bound),
        "best": best.parameters,
    }
    return BETTER if bound > 0 and len(counts) >= fewest else NO_BETTER, evidence


def _gains(defaults: Trial, other: Trial, counts: NDArray[Any], seed: int) -> NDArray[np.float64]:
    saved = np.array(defaults.sums) - np.array(other.sums)
    gains, _ = resampled_ratios(saved, counts, resamples=_RESAMPLES, seed=seed)
    return gains


def _short(value: float | None) -> float:
    """Return six significant digits, which the processor does not change."""
    return float(f"{value:.6g}")
