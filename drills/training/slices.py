"""The part of the drill `verdicts` about slices: how often the bounds of small parts of a simulated month hold its truth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from drills.results import Result
from drills.training import verdicts
from drills.training.verdicts import Month
from pipelines.stages.evaluate.slices.parts import FEWEST_OF_A_LABEL
from pipelines.statistics import parts
from pipelines.statistics.parts import Values

SHARES = (1 / 16, 1 / 64)
_RESAMPLES = 1000


@dataclass
class Tally:
    """Counts of slices.

    Attributes:
        covered, by_percentiles: 95 % intervals of ROC-AUC that hold the truth: by bootstrap-t, and by percentiles of the resamplings.
        differences: 95 % intervals of the difference between two equally good models that hold 0.
        left_out: slices without ten rows of either label.
    """

    slices: int = 0
    covered: int = 0
    by_percentiles: int = 0
    differences: int = 0
    left_out: int = 0


def tally(month: Month, share: float, replications: int, seed: int) -> Tally:
    """Judge one slice of each simulated month, rows that are drawn at random, and return the counts."""
    found, truth = Tally(), verdicts.truth(month, month.noise)
    for random in verdicts.generators(replications, seed):
        labels, days, (model, other) = month.draw(random, (month.noise, month.noise))
        rows = random.random(len(labels)) < share
        if not parts.has_both(labels[rows], FEWEST_OF_A_LABEL):
            found.left_out += 1
            continue
        statistics = [
            parts.area(labels[rows], model[rows], days[rows]),
            parts.area(labels[rows], model[rows], days[rows], other[rows]),
        ]
        area, difference = parts.resampled(statistics, days, resamples=_RESAMPLES, seed=int(random.integers(2**31)))
        if area is None or difference is None:
            found.left_out += 1
            continue
        found.slices += 1
        found.covered += _holds(area.bounds, truth)
        found.by_percentiles += _holds(area.figures, truth)
        found.differences += _holds(difference.bounds, 0.0)
    return found


def _holds(values: Values, truth: float) -> bool:
    low, high = np.nanpercentile(values[1:], [2.5, 97.5])
    return bool(low <= truth <= high)


def results(month: Month, replications: int, seed: int) -> list[Result]:
    """Return the coverage in slices of each share."""
    found = []
    for share in SHARES:
        counted = tally(month, share, replications, seed)
        missed = counted.slices - min(counted.covered, counted.differences)
        shown = {
            name: getattr(counted, name) / max(1, counted.slices)
            for name in ("covered", "by_percentiles", "differences")
        }
        found.append(
            Result(
                0,
                f"coverage of the 95 % intervals in slices of {share * month.rows:.0f} rows a day",
                f"{counted.slices} slices, of months of {month.days} days",
                counted.slices,
                missed,
                f"{shown['covered']:.1%} hold the true ROC-AUC, {shown['differences']:.1%} the true difference of two models, wanted "
                f"93 to 97 %; percentiles of the resamplings {shown['by_percentiles']:.1%}",
                all(verdicts.COVERAGE[0] <= shown[name] <= verdicts.COVERAGE[1] for name in ("covered", "differences")),
            )
        )
    return found
