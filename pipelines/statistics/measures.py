"""Measures of a model by the form of its answers; pure functions on arrays without NaN.

| form          | `outcomes`, of shape (rows,) | `scores`                                          |
|---------------|------------------------------|---------------------------------------------------|
| probability   | 0 or 1 (also `labels`)       | probabilities of 1, of shape (rows,)              |
| probabilities | the index of the label       | probabilities of each, of shape (rows, labels)    |
| value         | the number                   | the predicted number, of shape (rows,)            |
| quantiles     | the number                   | ascending quantiles, of shape (rows, levels)      |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.schema.tasks import Form
from pipelines.statistics import bounds
from pipelines.statistics.losses import absolute_errors, log_losses, squared_errors

Outcomes = NDArray[Any]
Labels = NDArray[np.int8]
Scores = NDArray[np.float64]

CALIBRATION_BINS = 10
_THRESHOLDS = 200
_CHUNK = 1_000_000  # weights of days at a time


@dataclass(frozen=True)
class Measure:
    """One figure of a model on some rows.

    Attributes:
        title: its name in reports.
        of: by form of answer, the function from outcomes and scores to the figure; None where it has no meaning on these rows. Empty
            for the mean loss of an objective with parameters (`pipelines.statistics.tasks`).
        note: a reference value or a unit, for readers.
        is_summarised: whether the lines at the end of `make up` show it.
    """

    title: str
    of: Mapping[Form, Callable[[Outcomes, Scores], float | None]]
    higher_is_better: bool
    note: str = ""
    is_summarised: bool = True

    @property
    def reading(self) -> str:
        """The direction in which the figure improves, and its note."""
        better = f"{'higher' if self.higher_is_better else 'lower'} is better"
        return f"{better}; {self.note}" if self.note else better


def measure(form: Form, outcomes: Outcomes, scores: Scores) -> dict[str, float]:
    """Return the measures of the form, by name; those that have no meaning on these rows are left out."""
    figures = {name: entry.of[form](outcomes, scores) for name, entry in MEASURES.items() if form in entry.of}
    return {name: figure for name, figure in figures.items() if figure is not None}


def roc_auc(labels: Labels, scores: Scores) -> float | None:
    """Return ROC-AUC; None where only one label is there."""
    from sklearn.metrics import roc_auc_score

    return float(roc_auc_score(labels, scores)) if _has_both(labels) else None


def macro_roc_auc(codes: Outcomes, scores: Scores) -> float | None:
    """Return the mean ROC-AUC of every label against the rest; None where not every label is there."""
    from sklearn.metrics import roc_auc_score

    labels = range(scores.shape[1])
    if len(np.unique(codes)) < len(labels):
        return None
    return float(np.mean([roc_auc_score(codes == label, scores[:, label]) for label in labels]))


def average_precision(labels: Labels, scores: Scores) -> float | None:
    """Return average precision, the area below precision by recall; None where only one label is there."""
    from sklearn.metrics import average_precision_score

    return float(average_precision_score(labels, scores)) if _has_both(labels) else None


def log_loss(labels: Labels, scores: Scores) -> float:
    """Return the mean log loss in nats."""
    from sklearn.metrics import log_loss as mean_log_loss

    return float(mean_log_loss(labels, scores, labels=[0, 1]))  # a slice may have one label alone


def brier(labels: Labels, scores: Scores) -> float:
    """Return the Brier score."""
    from sklearn.metrics import brier_score_loss

    return float(brier_score_loss(labels, scores))


def accuracy(codes: Outcomes, scores: Scores) -> float:
    """Return the share of rows whose most probable label is the right one."""
    return float((scores.argmax(axis=1) == codes).mean())


def confidence_error(codes: Outcomes, scores: Scores) -> float:
    """Return the calibration error of the most probable label."""
    return calibration_error((scores.argmax(axis=1) == codes).astype(np.int8), scores.max(axis=1))


def r2(values: Outcomes, scores: Scores) -> float | None:
    """Return the share of the variance that is explained; None where all values are equal."""
    spread = float(np.var(values))
    return 1 - float(squared_errors(values, scores).mean()) / spread if spread > 0 else None


def describe(form: Form, outcomes: Outcomes) -> dict[str, float]:
    """Return the positive share of the outcomes, or the mean of numbers; nothing for three or more labels."""
    if form == "probabilities":
        return {}
    return {"positive_rate" if form == "probability" else "mean": float(outcomes.mean())}


def calibration_error(labels: Labels, scores: Scores, bins: int = CALIBRATION_BINS) -> float:
    """Return the expected calibration error: the mean distance of mean score and positive share over bins, weighted by count.

    The bins have equal count. Source: Naeini, Cooper, Hauskrecht 2015, with quantile bins.
    """
    if not len(labels):
        return 0.0
    return float(
        sum(abs(entry["score"] - entry["rate"]) * entry["rows"] for entry in calibration(labels, scores, bins))
        / len(labels)
    )


def calibration(labels: Labels, scores: Scores, bins: int = CALIBRATION_BINS) -> list[dict[str, float]]:
    """Return mean score and positive share by bins of equal count, in ascending order of score."""
    order = np.argsort(scores, kind="stable")
    return [
        {"score": float(scores[part].mean()), "rate": float(labels[part].mean()), "rows": len(part)}
        for part in np.array_split(order, bins)
        if len(part)
    ]


def counts_by_threshold(labels: Labels, scores: Scores, clusters: NDArray[np.int64]) -> tuple[Scores, Scores]:
    """Return the positives and the negatives at or above each of 200 thresholds, from the highest down.

    Both have the shape (clusters, thresholds), and whole numbers, whose sums are exact.
    """
    edges = np.unique(np.quantile(scores, np.linspace(0, 1, _THRESHOLDS)))
    cells, size = np.searchsorted(edges, scores, side="right"), int(clusters.max()) + 1
    positives, negatives = (
        np.bincount(clusters[rows] * (len(edges) + 1) + cells[rows], minlength=size * (len(edges) + 1))
        .reshape(size, -1)[:, ::-1]
        .cumsum(axis=1)
        .astype(np.float64)
        for rows in (labels == 1, labels == 0)
    )
    return positives, negatives


def concordance(labels: Labels, scores: Scores, days: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the concordant pairs by day: entry (i, j) counts those of a positive of day i and a negative of day j.

    A pair is concordant if the positive has the higher score; ties count one half. ROC-AUC is the sum over all pairs divided by
    their number, so any re-weighting of days is a product.
    """
    size = int(days.max()) + 1
    pairs = np.zeros((size, size))
    positive = labels == 1
    order = np.argsort(scores[positive])  # searches for ascending numbers are several times as fast
    positives, owners = scores[positive][order], days[positive][order]
    for day in range(size):
        negatives = np.sort(scores[(days == day) & ~positive])
        below = np.searchsorted(negatives, positives, "left")
        upto = np.searchsorted(negatives, positives, "right")
        pairs[:, day] = np.bincount(owners, (below + upto) / 2, minlength=size)
    return pairs


def auc_by_resampled_days(
    labels: Labels,
    concordant: NDArray[np.float64],
    days: NDArray[np.int64],
    *,
    resamples: int,
    seed: int,
    is_difference: bool,
) -> Scores:
    """Return ROC-AUC from concordant pairs as measured, then values whose percentiles are its bounds (`pipelines.statistics.bounds`).

    The difference of two models' pairs gives the difference of their ROC-AUC. Rows of one day share what happened on it;
    taking them as independent would make every bound far too tight.
    """
    size = int(days.max()) + 1
    weights = np.random.default_rng(seed).multinomial(size, np.full(size, 1 / size), resamples).astype(np.float64)
    weights = np.vstack([np.ones(size), weights])
    counts = [np.bincount(days[labels == value], minlength=size).astype(np.float64) for value in (1, 0)]
    areas, errors = areas_and_errors(weights, concordant, *counts)
    return np.clip(bounds.studentized(areas, errors, size, is_difference=is_difference), -1.0, 1.0)


def areas_and_errors(
    weights: Scores, concordant: Scores, positives: Scores, negatives: Scores
) -> tuple[Scores, Scores]:
    """Return ROC-AUC for each row of weights of the days, and its standard error; arguments as of `areas_and_influences`."""
    step = max(1, _CHUNK // weights.shape[1])
    found = []
    for at in range(0, len(weights), step):
        drawn = weights[at : at + step]
        areas, influences = areas_and_influences(drawn, concordant, positives, negatives)
        found.append((areas, bounds.errors(drawn, influences)))
    every, spreads = (np.concatenate(each) for each in zip(*found, strict=True))
    return every, spreads


def areas_and_influences(
    weights: Scores, concordant: Scores, positives: Scores, negatives: Scores
) -> tuple[Scores, Scores]:
    """Return ROC-AUC for each row of weights of the days, and the influence of each day on it; NaN where one label has no weight.

    Args:
        weights: of shape (sets, days).
        positives, negatives: rows of either label by day.
    """
    # Products of whole and half numbers: exact, whatever the order in which a processor adds them.
    as_positives, as_negatives = weights @ concordant.T, weights @ concordant
    weighed, others = (weights @ positives)[:, None], (weights @ negatives)[:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        areas = (as_positives * weights).sum(axis=1) / (weighed * others)[:, 0]
        influences: Scores = (as_positives + as_negatives) / (weighed * others)
        influences -= areas[:, None] * (positives / weighed + negatives / others)
    return areas, influences


def _has_both(labels: Labels) -> bool:
    return bool(0 < labels.sum() < len(labels))


# By the name that metrics.json gives them, in the order of reports.
MEASURES = {
    "roc_auc": Measure("ROC-AUC", {"probability": roc_auc, "probabilities": macro_roc_auc}, True, "0.5 is chance"),
    "pr_auc": Measure("PR-AUC", {"probability": average_precision}, True, "the positive share is chance"),
    "accuracy": Measure("accuracy", {"probabilities": accuracy}, True),
    "log_loss": Measure(
        "log loss",
        {"probability": log_loss, "probabilities": lambda codes, scores: float(log_losses(codes, scores).mean())},
        False,
    ),
    "brier": Measure("Brier score", {"probability": brier}, False),
    "deviance": Measure("deviance", {}, False, "0 is perfect"),
    "huber_loss": Measure("Huber loss", {}, False),
    "pinball_loss": Measure("pinball loss", {}, False, "in the unit of the target"),
    "rmse": Measure(
        "RMSE",
        {"value": lambda values, scores: float(np.sqrt(squared_errors(values, scores).mean()))},
        False,
        "in the unit of the target",
    ),
    "mae": Measure(
        "MAE",
        {"value": lambda values, scores: float(absolute_errors(values, scores).mean())},
        False,
        "in the unit of the target",
    ),
    "r2": Measure("R²", {"value": r2}, True, "1 is perfect, 0 is the mean"),
    "calibration_error": Measure(
        "calibration error",
        {"probability": calibration_error, "probabilities": confidence_error},
        False,
        is_summarised=False,
    ),
}
