"""The drill of verdicts: simulated hold-outs whose truth is known, judged by the code of the gates.

The hold-outs are made to look like a month of flights: days that differ as a whole, and rows within them. The naive bound, which takes rows
for independent, stands beside each figure.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from drills.results import Result
from pipelines.statistics import comparisons
from pipelines.statistics.measures import Labels, Scores, roc_auc
from pipelines.statistics.tasks import JUDGEMENTS

_ALPHA = 0.05
_MARGIN = 0.01  # of ROC-AUC; `gates.regression_margin`
_RESAMPLES = 1000
_TRUTH_ROWS = 2_000_000
COVERAGE, _POWER = (0.93, 0.97), 0.8
Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Month:
    """The shape of a simulated hold-out, and its models.

    Attributes:
        days, rows: number of days, and of rows a day on average.
        level, day, row: mean log-odds of an outcome, and the standard deviations of what its day and its row add to it.
        noise: standard deviation of what a model adds to the log-odds of its row; it knows half of the day.
        alike: share of the variance of that which two models have in common, as those have that learned from the same rows.
    """

    days: int = 31
    rows: int = 870
    level: float = -0.9
    day: float = 0.6
    row: float = 0.9
    noise: float = 0.6
    alike: float = 0.5

    def draw(
        self, random: np.random.Generator, noises: tuple[float, ...]
    ) -> tuple[Labels, NDArray[np.int64], list[Scores]]:
        """Return outcomes, days and the scores of a model for each of the noises."""
        counts = random.poisson(self.rows, self.days) + 2
        days = np.repeat(np.arange(self.days), counts)
        shifts = random.normal(0, self.day, self.days)[days]
        own = self.level + random.normal(0, self.row, len(days))
        labels = (random.random(len(days)) < 1 / (1 + np.exp(-(own + shifts)))).astype(np.int8)
        common, apart = random.normal(0, self.alike**0.5, len(days)), (1 - self.alike) ** 0.5
        # A part of a model's error is that of its day, as where the weather was forecast wrongly.
        scores = [
            own
            + shifts / 2
            + noise * (common + random.normal(0, apart, len(days)) + random.normal(0, 0.25, self.days)[days])
            for noise in noises
        ]
        return labels, days, scores


@dataclass
class Tally:
    """Counts of replications.

    Attributes:
        covered, naive_covered: 95 % intervals of a model's ROC-AUC that hold the truth.
        width, naive_width: sums of their widths.
        promoted, naive_promoted: models worse by exactly the margin, which the bound lets pass.
        found: models as good as the live one, which pass.
    """

    replications: int = 0
    covered: int = 0
    naive_covered: int = 0
    width: float = 0.0
    naive_width: float = 0.0
    promoted: int = 0
    naive_promoted: int = 0
    found: int = 0


@cache
def truth(month: Month, noise: float) -> float:
    """Return the ROC-AUC of a model on endlessly many days."""
    random = np.random.default_rng(99)
    endless = Month(_TRUTH_ROWS // 40, 38, month.level, month.day, month.row)
    labels, _, (scores,) = endless.draw(random, (noise,))
    return float(roc_auc(labels, scores) or 0.0)


@cache
def inferior_noise(month: Month) -> float:
    """Return the noise of a model whose true ROC-AUC is lower by the margin."""
    wanted, low, high = truth(month, month.noise) - _MARGIN, month.noise, month.noise + 1
    for _ in range(12):
        middle = (low + high) / 2
        low, high = (middle, high) if truth(month, middle) > wanted else (low, middle)
    return (low + high) / 2


def tally(month: Month, replications: int, seed: int) -> Tally:
    """Judge simulated months, and return the counts."""
    found, worse, true = Tally(), inferior_noise(month), truth(month, month.noise)
    for random in generators(replications, seed):
        found.replications += 1
        labels, days, (model, equal, inferior) = month.draw(random, (month.noise, month.noise, worse))
        drawn = int(random.integers(2**31))
        values = comparisons.areas(labels, model, days, resamples=_RESAMPLES, seed=drawn)[1:]
        low, high = np.percentile(values, [2.5, 97.5])
        found.covered += bool(low <= true <= high)  # NumPy's own is no JSON
        found.width += float(high - low)
        low, high = _by_rows(labels, model)
        found.naive_covered += bool(low <= true <= high)
        found.naive_width += float(high - low)
        found.promoted += _passes(labels, inferior, model, days, drawn)
        found.found += _passes(labels, equal, model, days, drawn)
        # A naive bound of the difference: as wide as that of rows in blocks of no meaning.
        found.naive_promoted += _passes(labels, inferior, model, random.permutation(days), drawn)
    return found


def generators(count: int, seed: int) -> Iterator[np.random.Generator]:
    """Yield a generator of random numbers for each replication."""
    yield from (np.random.default_rng(each) for each in np.random.SeedSequence(seed).spawn(count))


def _passes(labels: Labels, scores: Scores, live: Scores, days: NDArray[np.int64], seed: int) -> bool:
    values = comparisons.differences(
        JUDGEMENTS["logistic"], labels, scores, live, days, resamples=_RESAMPLES, seed=seed
    )
    return comparisons.bounded(values)["lower_bound"] > -_MARGIN


def _by_rows(labels: Labels, scores: Scores) -> tuple[float, float]:
    """Return the 95 % interval of ROC-AUC by DeLong, for independent rows.

    Source: DeLong, DeLong, Clarke-Pearson 1988, Comparing the Areas under Two or More Correlated Receiver Operating Characteristic Curves.
    """
    area, error = delong(labels, scores)
    return area - 1.96 * error, area + 1.96 * error


def delong(labels: Labels, scores: Scores) -> tuple[float, float]:
    """Return ROC-AUC and its standard error for independent rows."""
    positives, negatives = scores[labels == 1], scores[labels == 0]
    placed = [_placements(values, others) for values, others in ((positives, negatives), (-negatives, -positives))]
    variance = sum(float(np.var(values, ddof=1)) / len(values) for values in placed)
    return float(placed[0].mean()), float(np.sqrt(variance))


def _placements(values: Numbers, others: Numbers) -> Numbers:
    """Return the share of the others that lie below each value; ties count one half."""
    ordered = np.sort(others)
    placed: Numbers = (np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")) / (
        2 * len(others)
    )
    return placed


def verdicts(seed: int, replications: int = 1000) -> list[Result]:
    """Run the drill: coverage of intervals, promotions of a model that is worse by the margin, and of one that is as good."""
    month = Month()
    found = tally(month, replications, seed)
    count = found.replications
    shape = f"{count} months of {month.days} days, {month.days * month.rows:,} rows"
    missed = count - found.covered
    return [
        Result(
            0,
            "coverage of the 95 % intervals by days",
            shape,
            count,
            missed,
            f"{found.covered / count:.1%} hold the true ROC-AUC, wanted 93 to 97 %; by rows {found.naive_covered / count:.1%}, "
            f"of intervals that are {found.width / found.naive_width:.1f} times as narrow",
            COVERAGE[0] <= found.covered / count <= COVERAGE[1],
        ),
        Result(
            30,
            "promotion of a model that is worse by the margin",
            shape,
            count,
            found.promoted,
            f"at most {_ALPHA:.0%} (binomial error allowed); by rows {found.naive_promoted / count:.1%}",
            found.promoted / count <= _ALPHA + 1.645 * (_ALPHA * (1 - _ALPHA) / count) ** 0.5,
        ),
        Result(
            0,
            "promotion of a model that is as good",
            shape,
            count,
            count - found.found,
            f"{found.found / count:.1%} pass, wanted {_POWER:.0%} (gates.regression_margin {_MARGIN})",
            found.found / count >= _POWER,
        ),
    ]
