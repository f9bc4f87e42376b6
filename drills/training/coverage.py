"""The part of the drill `verdicts` about the other measures: how often the bounds of each hold its truth, for the kinds of target."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from drills.results import Result
from drills.training import verdicts
from drills.training.verdicts import Month
from pipelines.statistics import estimates, parts
from pipelines.statistics.measures import MEASURES, Outcomes, Scores
from pipelines.statistics.tasks import JUDGEMENTS

KINDS = {"two labels": "logistic", "three labels": "softmax", "a number": "squared_error"}
_RESAMPLES = 1000
_TRUTH_DAYS, _TRUTHS = 40_000, 10


@dataclass
class Tally:
    """Counts of months.

    Attributes:
        covered: 95 % intervals that hold the truth.
        below, above: truths below the one-sided 95 % lower bound, and above the upper one.
    """

    covered: int = 0
    below: int = 0
    above: int = 0


def draw(kind: str, month: Month, random: np.random.Generator) -> tuple[Outcomes, NDArray[np.int64], Scores]:
    """Return outcomes, days and scores of a month: a day moves all its outcomes, and the model knows half of that."""
    if kind == "two labels":
        labels, days, (score,) = month.draw(random, (month.noise,))
        return labels, days, verdicts.chances(score)
    days = np.repeat(np.arange(month.days), random.poisson(month.rows, month.days) + 2)
    width = 3 if kind == "three labels" else 1
    own, shifts = (
        random.normal(0, month.row, (len(days), width)),
        random.normal(0, month.day, (month.days, width))[days],
    )
    known = own + shifts / 2 + random.normal(0, month.noise, (len(days), width))
    if kind == "a number":
        return (own + shifts + random.normal(0, 1, own.shape))[:, 0], days, known[:, 0]
    chances = np.exp(own + shifts)
    cumulated = chances.cumsum(axis=1) / chances.sum(axis=1, keepdims=True)
    labels = (random.random((len(days), 1)) > cumulated).sum(axis=1)
    scores = np.exp(known)
    return labels, days, scores / scores.sum(axis=1, keepdims=True)


@cache
def truths(kind: str, month: Month, days: int = _TRUTH_DAYS) -> dict[str, float]:
    """Return the measures of the model on endlessly many days, as many as `days` ten times."""
    endless = Month(days, 38, month.level, month.day, month.row, month.noise)
    found = []
    for random in verdicts.generators(_TRUTHS, 99):
        outcomes, _, scores = draw(kind, endless, random)
        found.append(JUDGEMENTS[KINDS[kind]].measure(outcomes, scores))
    return {name: float(np.mean([each[name] for each in found])) for name in found[0]}


def tally(kind: str, month: Month, replications: int, seed: int, truth: dict[str, float]) -> dict[str, Tally]:
    """Return by measure the counts of months."""
    judged, counted = JUDGEMENTS[KINDS[kind]], {name: Tally() for name in truth}
    for random in verdicts.generators(replications, seed):
        outcomes, days, scores = draw(kind, month, random)
        statistics = [estimates.statistic(name, judged, outcomes, scores, days) for name in truth]
        found = parts.resampled(statistics, days, resamples=_RESAMPLES, seed=int(random.integers(2**31)))
        for name, resampled in zip(truth, found, strict=True):
            if resampled is not None:
                low, lower, upper, high = np.nanpercentile(resampled.bounds[1:], [2.5, 5, 95, 97.5])
                counted[name].covered += bool(low <= truth[name] <= high)
                counted[name].below += bool(truth[name] < lower)
                counted[name].above += bool(truth[name] > upper)
    return counted


def results(month: Month, replications: int, seed: int) -> list[Result]:
    """Return the coverage of each measure of each kind of target."""
    found = []
    for kind in KINDS:
        truth = truths(kind, month)
        for name, counted in tally(kind, month, replications, seed, truth).items():
            share = counted.covered / replications
            found.append(
                Result(
                    0,
                    f"coverage of the 95 % intervals of {MEASURES[name].title}, {kind}",
                    f"{replications} months of {month.days} days, {month.days * month.rows:,} rows",
                    replications,
                    replications - counted.covered,
                    f"{share:.1%} hold the truth, wanted 93 to 97 %; it lies below the one-sided lower bound in "
                    f"{counted.below / replications:.1%}, above the upper one in {counted.above / replications:.1%}",
                    verdicts.COVERAGE[0] <= share <= verdicts.COVERAGE[1],
                )
            )
    return found
