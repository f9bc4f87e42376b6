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
    if not TASKS[task].is_number:
        outcomes = np.unique(outcomes, return_inverse=True)[1]
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
    # Sorting alone takes a tenth of the sorting with places that `np.unique` needs for its inverse. NaN are last in both.
    ordered = np.sort(values)
    known = ordered[: len(values) - int(np.isnan(values).sum())]
    distinct = np.unique(ordered)
    binnings = [np.searchsorted(distinct, values).astype(np.int64)] if len(distinct) <= _MOST_VALUES else []
    count = int(np.clip(len(known) // _ROWS_PER_BIN, 2, _MOST_BINS))
    if len(distinct) > count and len(known):
        edges = np.quantile(known, np.linspace(0, 1, count + 1)[1:-1])
        bins = np.searchsorted(edges, values, side="right")
        bins[np.isnan(values)] = count
        binnings.append(bins.astype(np.int64))
    return binnings


def _auc(bins: Bins, outcomes: NDArray[Any], task: str) -> float:
    if TASKS[task].is_number:
        return _class_auc(_counts(bins, (outcomes > np.median(outcomes)).astype(np.int64)))
    counts = _counts(bins, outcomes)
    others = counts.sum(axis=2)[:, :, None] - counts
    classes = [1] if TASKS[task].has_positive else range(counts.shape[2])
    return float(np.mean([_class_auc(np.stack([others[:, :, k], counts[:, :, k]], axis=2)) for k in classes]))


def _counts(bins: Bins, codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the number of rows by half (even and odd rows), bin and code."""
    shape = (2, int(bins.max()) + 1, max(2, int(codes.max()) + 1))
    cells = np.ravel_multi_index((np.arange(len(bins)) % 2, bins, codes), shape)
    return np.bincount(cells, minlength=int(np.prod(shape))).reshape(shape)


def _class_auc(counts: NDArray[np.int64]) -> float:
    areas = []
    for learned, held in (counts, counts[::-1]):
        seen, hits = learned.sum(axis=1), learned[:, 1]
        # One pseudo-row at the mean: a bin of few rows is pulled to it, and an empty bin predicts it.
        rates = (hits + hits.sum() / seen.sum()) / (seen + 1)
        _, level = np.unique(rates, return_inverse=True)
        below, above = (np.bincount(level, held[:, k]) for k in (0, 1))
        pairs = above.sum() * below.sum()
        if pairs:
            areas.append(float((above * (np.cumsum(below) - below / 2)).sum() / pairs))
    return float(np.mean(areas)) if areas else 0.5


def _error_reduction(bins: Bins, outcomes: NDArray[Any], task: str) -> float:
    if TASKS[task].is_number:
        pairs = [_squared_errors(bins, outcomes, learned) for learned in _halves(len(bins))]
    else:
        counts = _counts(bins, outcomes)
        pairs = [_wrong_labels(learned, held) for learned, held in (counts, counts[::-1])]
    return float(np.mean([1 - errors / without if without else 0.0 for errors, without in pairs]))


def _squared_errors(bins: Bins, outcomes: NDArray[Any], learned: NDArray[np.bool_]) -> tuple[float, float]:
    """Return the errors of the bins' means, and of the mean."""
    size = int(bins.max()) + 1
    seen = np.bincount(bins[learned], minlength=size)
    mean = outcomes[learned].mean()  # the prediction of an empty bin
    guess = (np.bincount(bins[learned], outcomes[learned], minlength=size) + mean * 1e-9) / (seen + 1e-9)
    errors = float(((outcomes[~learned] - guess[bins[~learned]]) ** 2).sum())
    return errors, float(((outcomes[~learned] - mean) ** 2).sum())


def _wrong_labels(learned: NDArray[np.int64], held: NDArray[np.int64]) -> tuple[float, float]:
    """Return the errors of the bins' commonest labels, and of the commonest label."""
    commonest = int(learned.sum(axis=0).argmax())
    guesses = np.where(learned.any(axis=1), learned.argmax(axis=1), commonest)
    right = held[np.arange(len(held)), guesses].sum()
    return float(held.sum() - right), float(held.sum() - held[:, commonest].sum())


def _halves(rows: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    even = np.arange(rows) % 2 == 0
    return even, ~even
