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
from pipelines.statistics import calibration, comparisons, parts
from pipelines.statistics.measures import Labels, Scores, roc_auc
from pipelines.statistics.tasks import JUDGEMENTS

_ALPHA = 0.05
_MARGIN = 0.01  # of ROC-AUC; `gates.regression_margin`
_RESAMPLES = 1000
_TRUTH_ROWS, _TRUTHS = (
    2_000_000,
    16,
)  # so many rows, so often: else an error of the truth would pass for one of the bounds
COVERAGE, _POWER = (0.93, 0.97), 0.8
REPLICATIONS = 4000
_JUDGED = JUDGEMENTS["logistic"]
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
        better, better_in_log_loss, better_in_calibration: models as good as the live one that are shown to be better, by chance.
    """

    replications: int = 0
    covered: int = 0
    naive_covered: int = 0
    width: float = 0.0
    naive_width: float = 0.0
    promoted: int = 0
    naive_promoted: int = 0
    found: int = 0
    better: int = 0
    better_in_log_loss: int = 0
    better_in_calibration: int = 0


@cache
def truth(month: Month, noise: float) -> float:
    """Return the ROC-AUC of a model on endlessly many days."""
    endless, areas = Month(_TRUTH_ROWS // 40, 38, month.level, month.day, month.row), []
    for random in generators(_TRUTHS, 99):
        labels, _, (scores,) = endless.draw(random, (noise,))
        areas.append(roc_auc(labels, scores) or 0.0)
    return float(np.mean(areas))


@cache
def inferior_noise(month: Month) -> float:
    """Return the noise of a model whose true ROC-AUC is lower by the margin."""
    more = 0.1
    for _ in range(3):  # ROC-AUC falls nearly evenly with the noise: each step leaves a tenth of the error
        more *= _MARGIN / (truth(month, month.noise) - truth(month, month.noise + more))
    return month.noise + more


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
        found.promoted += _bound(labels, inferior, model, days, drawn) > -_MARGIN
        found.found += (bound := _bound(labels, equal, model, days, drawn)) > -_MARGIN
        found.better += bound > 0
        found.better_in_log_loss += _log_loss_bound(labels, equal, model, days, drawn) > 0
        found.better_in_calibration += _calibration_bound(labels, equal, model, days, drawn) > 0
        # A naive bound of the difference: as wide as that of rows in blocks of no meaning.
        found.naive_promoted += _bound(labels, inferior, model, random.permutation(days), drawn) > -_MARGIN
    return found


def generators(count: int, seed: int) -> Iterator[np.random.Generator]:
    """Yield a generator of random numbers for each replication."""
    yield from (np.random.default_rng(each) for each in np.random.SeedSequence(seed).spawn(count))


def chances(log_odds: Scores) -> Scores:
    """Return the probabilities of log-odds."""
    found: Scores = 1 / (1 + np.exp(-log_odds))
    return found


def _bound(labels: Labels, scores: Scores, live: Scores, days: NDArray[np.int64], seed: int) -> float:
    """Return the lower bound of the difference in ROC-AUC, as the gate has it."""
    values = comparisons.differences(_JUDGED, labels, scores, live, days, resamples=_RESAMPLES, seed=seed)
    return comparisons.bounded(values)["lower_bound"]


def _log_loss_bound(labels: Labels, scores: Scores, live: Scores, days: NDArray[np.int64], seed: int) -> float:
    ours, theirs = (chances(each) for each in (scores, live))
    values = comparisons.log_loss_differences(_JUDGED, labels, ours, theirs, days, resamples=_RESAMPLES, seed=seed)
    return comparisons.bounded(values)["lower_bound"]


def _calibration_bound(labels: Labels, scores: Scores, live: Scores, days: NDArray[np.int64], seed: int) -> float:
    ours, theirs = (calibration.error_of(labels, chances(each), days) for each in (scores, live))
    (found,) = parts.resampled([theirs - ours], days, resamples=_RESAMPLES, seed=seed)
    return comparisons.bounded(found.bounds)["lower_bound"] if found else -np.inf


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


def verdicts(seed: int) -> list[Result]:
    """Run the drill: coverage of intervals, promotions of a model that is worse by the margin, and of one that is as good."""
    month = Month()
    found = tally(month, REPLICATIONS, seed)
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
        _false(
            30,
            "promotion of a model that is worse by the margin",
            shape,
            count,
            found.promoted,
            f"; by rows {found.naive_promoted / count:.1%}",
        ),
        *(
            _false(0, f"an equally good model shown to be better in {name}", shape, count, wrong)
            for name, wrong in (
                ("ROC-AUC", found.better),
                ("log loss", found.better_in_log_loss),
                ("calibration error", found.better_in_calibration),
            )
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


def _false(number: int, name: str, shape: str, count: int, wrong: int, beside: str = "") -> Result:
    """Return the result of a decision that may be wrong in a share of alpha; it fails where a one-sided test at alpha shows more."""
    share, error = wrong / count, (_ALPHA * (1 - _ALPHA) / count) ** 0.5
    told = f"{share:.1%} of the pairs, at most {_ALPHA:.0%} (standard error {error:.1%}){beside}"
    return Result(number, name, shape, count, wrong, told, share <= _ALPHA + 1.645 * error)
