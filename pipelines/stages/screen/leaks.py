"""The strength of single features as predictors of the outcome: pure functions on arrays.

A feature's values are put into bins. The prediction of a bin is learned on every other row and judged on the rest, so a value that
only one row has predicts nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.schema.tasks import TASKS

_MOST_VALUES = 10_000
_MOST_BINS = 64
_ROWS_PER_BIN = 20
# A feature that is twice as strong as the next one, among the strongest quarter, and not weak itself (ROC-AUC 0.7, R² 0.16).
_APART, _LEAST = 2.0, 0.4

Bins = NDArray[np.int64]


def measure(values: NDArray[np.float32], outcomes: NDArray[Any], task: str) -> dict[str, float]:
    """Return the strength of a feature alone, by two measures.

    Returns:
        `auc`: ROC-AUC of the outcome, in [0, 1] (0.5: nothing); the mean over the labels, each against the others, where there are
            several, and of being above the median where it is a number.
        `error_reduction`: share of the errors of a prediction without features that this feature avoids, at most 1: of wrong labels
            (Goodman and Kruskal's lambda, 1954), or of squared errors.
    """
    best = {"auc": 0.5, "error_reduction": 0.0}
    for bins in _binnings(values):
        found = {"auc": _auc(bins, outcomes, task), "error_reduction": _error_reduction(bins, outcomes, task)}
        best = {key: max(value, found[key]) for key, value in best.items()}
    return best


def strength(found: Mapping[str, float], task: str) -> float:
    """Return the strength in the task's measure: R² of a regression, else the larger of ROC-AUC and error reduction.

    A ranking is no measure of a regression: weight may tell whether a price is above the median, and not the price.
    """
    return found["error_reduction"] if TASKS[task].is_number else max(found["auc"], found["error_reduction"])


def describe(found: Mapping[str, float], task: str) -> str:
    """Return the strength of a feature as text."""
    if TASKS[task].is_number:
        return f"alone it explains {max(found['error_reduction'], 0):.1%} of the variance"
    return f"alone it has ROC-AUC {found['auc']:.3f} and avoids {max(found['error_reduction'], 0):.0%} of the errors"


def outliers(features: Mapping[str, Mapping[str, float]], task: str) -> dict[str, str]:
    """Return the features that predict far more alone than all others, with the evidence: leaks that no fixed bound finds.

    They are compared by Fisher's z of the correlation that the measure stands for (2 AUC - 1, or the root of R²): its differences mean
    the same near 0 and near 1. Source: Fisher, Biometrika 1915.
    """
    order = sorted(features, key=lambda name: -_fisher(features[name], task))
    scores = [_fisher(features[name], task) for name in order]
    for count in range(max(1, len(order) // 4), 0, -1):
        if count < len(order) and scores[count - 1] >= max(_LEAST, _APART * scores[count]):
            following = f"the next one is {order[count]}: {describe(features[order[count]], task)}"
            return {
                name: f"{describe(features[name], task)}, far more than other features ({following})"
                for name in order[:count]
            }
    return {}


def _fisher(found: Mapping[str, float], task: str) -> float:
    correlation = np.sqrt(max(found["error_reduction"], 0.0)) if TASKS[task].is_number else 2 * found["auc"] - 1
    return float(np.arctanh(np.clip(correlation, 0.0, 1 - 1e-9)))


def _binnings(values: NDArray[np.float32]) -> list[Bins]:
    """Return bins of single values, if there are few enough, and bins of about equal count; NaN has a bin of its own."""
    distinct, codes = np.unique(values, return_inverse=True)
    binnings = [codes.astype(np.int64)] if len(distinct) <= _MOST_VALUES else []
    known = values[~np.isnan(values)]
    count = int(np.clip(len(known) // _ROWS_PER_BIN, 2, _MOST_BINS))
    if len(distinct) > count and len(known):
        edges = np.quantile(known, np.linspace(0, 1, count + 1)[1:-1])
        bins = np.searchsorted(edges, values, side="right")
        bins[np.isnan(values)] = count
        binnings.append(bins.astype(np.int64))
    return binnings


def _auc(bins: Bins, outcomes: NDArray[Any], task: str) -> float:
    if TASKS[task].is_number:
        classes = [outcomes > np.median(outcomes)]
    elif TASKS[task].has_positive:
        classes = [outcomes == 1]
    else:
        classes = [outcomes == label for label in np.unique(outcomes)]
    return float(np.mean([_class_auc(bins, is_class) for is_class in classes]))


def _class_auc(bins: Bins, positive: NDArray[np.bool_]) -> float:
    areas = []
    for learned in _halves(len(bins)):
        size = int(bins.max()) + 1
        seen = np.bincount(bins[learned], minlength=size)
        hits = np.bincount(bins[learned], positive[learned], minlength=size)
        # One pseudo-row at the mean: a bin of few rows is pulled to it, and an empty bin predicts it.
        rates = (hits + positive[learned].mean()) / (seen + 1)
        held, labels = bins[~learned], positive[~learned]
        _, level = np.unique(rates, return_inverse=True)
        above = np.bincount(level[held], labels, minlength=level.max() + 1)
        below = np.bincount(level[held], ~labels, minlength=level.max() + 1)
        pairs = above.sum() * below.sum()
        if pairs:
            areas.append(float((above * (np.cumsum(below) - below / 2)).sum() / pairs))
    return float(np.mean(areas)) if areas else 0.5


def _error_reduction(bins: Bins, outcomes: NDArray[Any], task: str) -> float:
    reductions = []
    for learned in _halves(len(bins)):
        size = int(bins.max()) + 1
        if TASKS[task].is_number:
            seen = np.bincount(bins[learned], minlength=size)
            mean = outcomes[learned].mean()  # the prediction of an empty bin
            guess = (np.bincount(bins[learned], outcomes[learned], minlength=size) + mean * 1e-9) / (seen + 1e-9)
            errors = float(((outcomes[~learned] - guess[bins[~learned]]) ** 2).sum())
            without = float(((outcomes[~learned] - mean) ** 2).sum())
        else:
            labels, codes = np.unique(outcomes, return_inverse=True)
            counts = np.zeros((size, len(labels)))
            np.add.at(counts, (bins[learned], codes[learned]), 1)
            commonest = int(counts.sum(axis=0).argmax())
            guesses = np.where(counts.any(axis=1), counts.argmax(axis=1), commonest)
            errors = float((guesses[bins[~learned]] != codes[~learned]).sum())
            without = float((codes[~learned] != commonest).sum())
        reductions.append(1 - errors / without if without else 0.0)
    return float(np.mean(reductions))


def _halves(rows: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    even = np.arange(rows) % 2 == 0
    return even, ~even
