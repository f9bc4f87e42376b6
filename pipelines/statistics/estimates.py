"""The measures of a model as statistics of the weights of clusters, so that each has bounds; pure functions on arrays without NaN."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import inf

import numpy as np
from numpy.typing import NDArray

from pipelines.data.clusters import Clusters
from pipelines.statistics import calibration, parts
from pipelines.statistics.losses import absolute_errors, log_losses, squared_errors
from pipelines.statistics.measures import MEASURES, Outcomes, Scores, average_precision, counts_by_threshold
from pipelines.statistics.parts import Statistic, Values
from pipelines.statistics.tasks import Judgement

_UNITS = 2.0**20  # of a slope, so that whole numbers are multiplied


def names(judged: Judgement) -> list[str]:
    """Return the names of the measures of a model that is judged so, in the order of reports."""
    return [name for name, entry in MEASURES.items() if judged.form in entry.of or name == judged.headline]


def statistic(name: str, judged: Judgement, outcomes: Outcomes, scores: Scores, clusters: Clusters) -> Statistic:
    """Return the statistic of a measure; as measured it is NaN where it has no meaning on these rows.

    Args:
        name: a key of `measures.MEASURES`.
        clusters: numbers of what is drawn.
    """
    if judged.form in _OF_FORM.get(name, ()):
        return _OF_FORM[name][judged.form](outcomes, scores, clusters)
    if judged.form not in MEASURES[name].of:  # the mean loss of an objective, which may have parameters
        return parts.mean(judged.losses(outcomes, scores), clusters, low=0.0, high=judged.largest)
    return by_rows(MEASURES[name].of[judged.form], outcomes, scores, clusters)


def by_rows(
    measure: Callable[[Outcomes, Scores], float | None], outcomes: Outcomes, scores: Scores, clusters: Clusters
) -> Statistic:
    """Return the statistic of any measure, by percentiles: it is computed from all rows of each draw, which takes longest."""

    def of(weights: Values) -> tuple[Values, None]:
        found = (np.repeat(np.arange(len(outcomes)), drawn[clusters].astype(np.int64)) for drawn in weights)
        figures = (measure(outcomes[rows], scores[rows]) for rows in found)
        return np.array([np.nan if figure is None else figure for figure in figures]), None

    return Statistic(of)


def _average_precision(labels: Outcomes, scores: Scores, clusters: Clusters) -> Statistic:
    """Return the statistic of average precision, from counts above 200 thresholds; as measured it is exact."""
    hits, alarms = counts_by_threshold(labels, scores, clusters)
    answered = hits + alarms

    def binned(weights: Values) -> tuple[Values, Values]:
        # Products of whole numbers: exact, whatever the order in which a processor adds them.
        found, every = weights @ hits, weights @ answered
        with np.errstate(invalid="ignore", divide="ignore"):
            precision, gained = np.nan_to_num(found / every), np.diff(found, prepend=0.0, axis=1)
            total = found[:, -1:]
            values = (gained * precision).sum(axis=1, keepdims=True) / total
            by_answer = np.nan_to_num(gained / every)
            # More rows of a cluster change what is found between two thresholds, and the precision at each.
            by_hit = by_answer - np.diff(precision, append=0.0, axis=1)
            influences = _product(by_hit, hits) - _product(by_answer * precision, answered)
            return values[:, 0], (influences - values * hits[:, -1]) / total

    off = (average_precision(labels, scores) or 0.0) - binned(np.ones((1, len(hits))))[0][0]

    def of(weights: Values) -> tuple[Values, Values]:
        values, influences = binned(weights)
        return values + off, influences

    return Statistic(of, 0.0, 1.0)


def _product(slopes: Values, counts: Values) -> Values:
    """Return the product of slopes of shape (sets, thresholds) and counts of shape (clusters, thresholds), to six digits.

    Whole numbers again, whose sums are exact for up to 2 ** 24 rows of a cluster.
    """
    product: Values = np.rint(slopes * _UNITS) @ counts.T / _UNITS
    return product


def _explained(values: Outcomes, scores: Scores, clusters: Clusters) -> Statistic:
    centred = values - values.mean()  # else the difference of two large numbers
    each = (parts.mean(of_row, clusters) for of_row in (squared_errors(values, scores), centred**2, centred))
    found = parts.combined(
        tuple(each),
        lambda error, square, mean: 1 - error / (square - mean**2),
        lambda error, square, mean: (
            -1 / (square - mean**2),
            error / (square - mean**2) ** 2,
            -2 * mean * error / (square - mean**2) ** 2,
        ),
    )
    return replace(found, high=1.0)


def _areas(codes: Outcomes, scores: Scores, clusters: Clusters) -> Statistic:
    count = scores.shape[1]
    every = [parts.area((codes == label).astype(np.int8), scores[:, label], clusters) for label in range(count)]
    found = parts.combined(every, lambda *areas: np.mean(areas, axis=0), lambda *_: (1 / count,) * count)
    return replace(found, low=0.0, high=1.0)


def _error_of_answers(codes: Outcomes, scores: Scores, clusters: Clusters) -> Statistic:
    return calibration.error_of((scores.argmax(axis=1) == codes).astype(np.int8), scores.max(axis=1), clusters)


def root(mean: Statistic) -> Statistic:
    """Return the statistic of the root of a mean."""
    found = parts.combined((mean,), np.sqrt, lambda figure: (0.5 / np.sqrt(figure),))
    return replace(found, low=0.0)


def _mean(
    losses: Callable[[Outcomes, Scores], Scores], largest: float = inf
) -> Callable[[Outcomes, Scores, Clusters], Statistic]:
    return lambda outcomes, scores, clusters: parts.mean(losses(outcomes, scores), clusters, low=0.0, high=largest)


def _both(chances: Scores) -> NDArray[np.float64]:
    return np.stack([1 - chances, chances], axis=1)


# By measure and form of the answer; a measure that is not here is computed from the rows of each draw.
_OF_FORM: Mapping[str, Mapping[str, Callable[[Outcomes, Scores, Clusters], Statistic]]] = {
    "roc_auc": {"probability": parts.area, "probabilities": _areas},
    "pr_auc": {"probability": _average_precision},
    "accuracy": {
        "probabilities": lambda codes, scores, clusters: parts.share(scores.argmax(axis=1) == codes, clusters)
    },
    "log_loss": {
        "probability": _mean(lambda labels, scores: log_losses(labels, _both(scores))),
        "probabilities": _mean(log_losses),
    },
    "brier": {"probability": _mean(squared_errors, largest=1.0)},
    "rmse": {"value": lambda values, scores, clusters: root(_mean(squared_errors)(values, scores, clusters))},
    "mae": {"value": _mean(absolute_errors)},
    "r2": {"value": _explained},
    "calibration_error": {"probability": calibration.error_of, "probabilities": _error_of_answers},
}
