"""The measures of a model with bounds: as measured those of `measures`, in each draw those of the drawn rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from pipelines.stages.evaluate.slices.parts import Part
from pipelines.statistics import estimates, parts
from pipelines.statistics.measures import MEASURES, Outcomes, Scores
from tests.pipelines.evaluate.slices.made import KINDS, figures, predictions

DAYS = 12


def median_error(values: Outcomes, scores: Scores) -> float:
    """A measure that has no statistic of its own."""
    return float(np.median(np.abs(values - scores)))


@pytest.mark.parametrize("kind", KINDS)
def test_statistic_of_each_measure_is_that_of_the_drawn_rows(kind: str) -> None:
    found = predictions(kind, days=DAYS, rows=900)
    judged, scores = figures(kind, found).judged, found.scores["model"]
    measured = judged.measure(found.outcomes, scores)
    assert estimates.names(judged) == [name for name in MEASURES if name in measured]
    drawn = np.vstack([np.ones(DAYS), np.random.default_rng(5).multinomial(DAYS, np.full(DAYS, 1 / DAYS), 6)])
    for name in estimates.names(judged):
        fast, influences = estimates.statistic(name, judged, found.outcomes, scores, found.clusters).of(drawn)
        assert fast[0] == pytest.approx(measured[name], rel=1e-9)
        by_rows = estimates.by_rows(
            lambda outcomes, chances, name=name: judged.measure(outcomes, chances)[name],  # type: ignore[misc]
            found.outcomes, scores, found.clusters,
        ).of(drawn)[0]  # fmt: skip
        # The bins of the calibration error are those of all rows, and average precision is read off at 200 thresholds.
        tolerance = {"calibration_error": 0.03, "pr_auc": 0.005}.get(name, 1e-9)
        assert fast == pytest.approx(by_rows, abs=tolerance), name
        assert influences is not None


@pytest.mark.parametrize("kind", KINDS)
def test_influence_of_a_day_is_the_change_by_a_little_more_of_it(kind: str) -> None:
    found, step = predictions(kind, days=DAYS, rows=900), 1e-6
    judged, scores, ones = figures(kind, found).judged, found.scores["model"], np.ones((1, DAYS))
    for name in estimates.names(judged):
        statistic = estimates.statistic(name, judged, found.outcomes, scores, found.clusters)
        measured, influences = statistic.of(ones)
        assert influences is not None
        more = np.concatenate([statistic.of(ones + step * day)[0] for day in np.eye(DAYS)])
        assert (more - measured) / step == pytest.approx(influences[0], abs=1e-5), name


def test_bounds_of_a_squared_error_of_probabilities_are_possible_when_a_slice_has_few_positives() -> None:
    """Bootstrap-t measures each draw in its own standard error, which is next to nothing where no positive row was drawn."""
    draw = np.random.default_rng(4)
    clusters = np.repeat(np.arange(30), 12)
    outcomes = np.zeros(len(clusters), np.int8)
    outcomes[[5, 200]] = 1
    found = replace(
        predictions("binary", days=30, rows=len(clusters)),
        outcomes=outcomes,
        clusters=clusters,
        scores={"model": draw.uniform(0.0001, 0.0002, len(clusters))},
    )
    part = Part(figures("binary", found), np.arange(len(clusters)), clusters)
    brier = estimates.statistic("brier", part.measuring.judged, outcomes, found.scores["model"], clusters)
    (loss,) = (each for name, _, each in part.answers() if name == "loss")
    for statistic in (brier, loss):
        resampled = parts.resampled([statistic], clusters, resamples=300, seed=1)[0]
        assert resampled is not None
        assert 0 <= resampled.bounds.min() < resampled.bounds.max() <= 1


def test_measure_without_a_statistic_of_its_own_is_computed_from_the_drawn_rows() -> None:
    found = predictions("regression", days=DAYS, rows=300)
    scores = found.scores["model"]
    statistic = estimates.by_rows(median_error, found.outcomes, scores, found.clusters)
    weights = np.eye(DAYS)[:2] * 3
    each = [median_error(found.outcomes[found.clusters == day], scores[found.clusters == day]) for day in (0, 1)]
    assert statistic.of(weights)[0] == pytest.approx(each)


def test_measure_without_a_meaning_has_no_figure() -> None:
    alike = predictions("binary", days=DAYS, rows=300)
    one_label = figures("binary", alike.__class__(np.zeros(300, np.int8), alike.clusters, alike.scores, alike.unseen))
    assert one_label.alone().keys() == {"log_loss", "brier", "calibration_error"}
