"""The reference of a model: counts of its training rows and predictions in bins large enough to identify nobody."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from contract.model import transforms
from contract.model.reference import MISSING, Bins, Reference, predicted
from contract.schema.schema import Feature, FeatureSchema
from contract.schema.tasks import TASKS
from pipelines.data.cuts import Distinct, distinct, moved
from pipelines.params.features.transforms import MINIMUM_COUNT

# Source: ten bins as in Siddiqi, Credit Risk Scorecards, 2006. More or smaller bins raise more false alarms.
_BINS = 10
_HEAVY = 0.05  # share of the rows from which a single value has its own bin
_LARGEST = 20  # categories with their own bins
_LARGE = 0.01  # smallest share of the rows of such a category


def reference(values: Callable[[str], Distinct], scores: NDArray[np.float32], schema: FeatureSchema) -> Reference:
    """Return the bins of the predictions, and of every feature that reads no PII field.

    Args:
        values: returns the distinct values of a feature of the training table, by its name.
        scores: those of the exported model, for all rows or a sample of them.

    No edge is a value of the table or a score. A bin with fewer rows than `MINIMUM_COUNT` counts none.
    """
    is_open = set(schema.open_features)
    return Reference(
        {
            feature.name: _feature_bins(feature, values(feature.name))
            for feature in schema.features
            if feature.name in is_open
        },
        _prediction_bins(distinct(predicted(schema.task, scores)), schema),
    )


def _feature_bins(feature: Feature, column: Distinct) -> Bins:
    categories = transforms.codes(feature)
    return number_bins(column) if categories is None else category_bins(column, categories, is_closed=False)


def _prediction_bins(column: Distinct, schema: FeatureSchema) -> Bins:
    if TASKS[schema.task].has_many_labels:
        return category_bins(column, schema.target.labels, is_closed=True)
    return number_bins(column)


def number_bins(column: Distinct) -> Bins:
    """Return bins of a tenth of the rows each; a value that many rows share has its own."""
    is_finite = np.isfinite(column.values)
    values = column.values[is_finite]
    cuts = np.array(_cuts(column.rows[is_finite]), np.int64)
    edges = moved(values[cuts], values)
    edges = edges[edges < values[cuts]]  # adjacent float32 values have nothing between them
    texts = [f"{edge:.9g}" for edge in edges.tolist()]
    names = [f"≤ {text}" for text in texts] + [f"> {texts[-1]}" if texts else "any", MISSING]
    return _counted(column, names, edges.tolist(), range(len(edges) + 1))


def _cuts(rows: NDArray[np.int64]) -> list[int]:
    """Return the cuts between ascending values with these rows: indices of the first value behind each cut."""
    reached = np.cumsum(rows)
    total = int(reached[-1]) if len(reached) else 0
    tenths = np.searchsorted(reached, np.arange(1, _BINS) * total / _BINS) + 1
    heavy = np.flatnonzero(rows >= _HEAVY * total)
    kept, behind = [], 0
    for cut in np.unique(np.concatenate([tenths, heavy, heavy + 1])).tolist():
        before = int(reached[cut - 1]) if 0 < cut < len(rows) else 0
        if before - behind >= MINIMUM_COUNT and total - before >= MINIMUM_COUNT:
            kept.append(cut)
            behind = before
    return kept


def category_bins(column: Distinct, categories: Sequence[str], *, is_closed: bool) -> Bins:
    """Return bins of the largest categories, one for the others, and unless `is_closed` one for unknown categories."""
    codes = len(categories)
    rows = np.zeros(codes + 1, np.int64)
    rows[column.values.astype(np.int64)] = column.rows
    smallest = max(MINIMUM_COUNT, _LARGE * rows.sum())
    largest = [int(code) for code in np.argsort(-rows[:codes], kind="stable")[:_LARGEST] if rows[code] >= smallest]
    names = [f"= {categories[code]}" for code in sorted(largest)]
    place = dict(zip(sorted(largest), range(codes), strict=False))
    if len(largest) < codes:
        names.append("other")
    places = [place.get(code, len(largest)) for code in range(codes)]
    if not is_closed:
        places.append(len(names))
        names.append("unknown")
    # Codes are whole numbers: an edge between each two.
    return _counted(column, [*names, MISSING], [code + 0.5 for code in range(len(places) - 1)], places)


def _counted(column: Distinct, names: Sequence[str], edges: Sequence[float], places: Sequence[int]) -> Bins:
    """Return the bins with their rows, counted as `contract.model.reference.Counter` counts those of requests."""
    reached = np.cumsum(column.rows)
    until = np.searchsorted(column.values, np.array([*edges, np.inf], np.float32), "right")
    in_interval = np.diff(np.concatenate([[0], reached])[until], prepend=0)
    rows = np.zeros(len(names), np.int64)
    np.add.at(rows, [*places, len(names) - 1], [*in_interval, column.missing])
    shown = tuple(count if count >= MINIMUM_COUNT else 0 for count in rows.tolist())
    return Bins(tuple(names), shown, tuple(edges), tuple(places))
