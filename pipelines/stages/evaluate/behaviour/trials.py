"""Trials of the expectations in `evaluate.behaviour`: rows with one field changed, encoded and scored as a server does it.

The field is changed in the raw row, so that every feature that reads it follows. A history is a field of its own, which a caller
computes: the histories that were computed from the changed column stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.model import transforms
from contract.model.predictor import Predictor
from contract.schema.fields import Field
from contract.schema.schema import FeatureSchema
from contract.schema.tasks import TASKS
from pipelines.params.features.transforms import FeatureParams, histories
from pipelines.params.judging.behaviour import Behaviour
from pipelines.statistics.measures import Scores

# Rows that are scored for one expectation: a quarter of a second, and a share within one hundredth if they were independent.
_SCORED = 5_000
Columns = Mapping[str, Sequence[Any]]


@dataclass(frozen=True)
class Trial:
    """One expectation, tried on rows.

    Attributes:
        changes: of the score, of shape (rows,); NaN for a row that was not tried. Of several values the one farthest from 0, of several
            labels that of the label that moves most.
        worst: the tried row with the largest change against the expectation, without personal data, and its scores before and after;
            None where no row was tried.
    """

    expectation: Behaviour
    changes: Scores
    worst: dict[str, Any] | None

    @property
    def violations(self) -> int:
        """The number of rows that violate the expectation."""
        return int(violated(self.expectation, self.changes).sum())


def against(expectation: Behaviour, changes: Scores) -> Scores:
    """Return the changes against the expectation: above its `limit` the row violates it. NaN stays NaN."""
    if expectation.direction is None:
        return np.abs(changes)
    return -changes if expectation.direction == "never_lower" else changes


def violated(expectation: Behaviour, changes: Scores) -> NDArray[np.bool_]:
    """Return the mask of the rows that violate the expectation; no row with NaN does."""
    found: NDArray[np.bool_] = against(expectation, changes) > expectation.limit
    return found


def sample(height: int, expectation: Behaviour, schema: FeatureSchema) -> NDArray[np.int64]:
    """Return the rows to try: all, or of many rows evenly spaced ones, so that every day has its part; no random number."""
    most = _SCORED // (1 if expectation.values is None else max(1, len(_values(expectation, schema))))
    count = min(height, max(1, most))
    return np.arange(count, dtype=np.int64) * height // count


def tried(expectation: Behaviour, predictor: Predictor, columns: Columns, scores: Scores) -> Trial:
    """Return the trial of an expectation on rows.

    Args:
        columns: a list of values for every field of the schema.
        scores: of these rows as they are.
    """
    schema, name = predictor.schema, expectation.column
    field = next(entry for entry in schema.fields if entry.name == name)
    own = columns[name]
    is_number = expectation.by is not None
    candidates = [_moved(own, expectation.by, field)] if is_number else _replaced(own, _values(expectation, schema))
    farthest = np.full(len(own), np.nan)
    after: list[Any] = [None] * len(own)
    put: list[Any] = [None] * len(own)
    for values in candidates:
        rows = [index for index, value in enumerate(values) if value is not None]
        if not rows:
            continue
        changed = {key: [entries[index] for index in rows] for key, entries in columns.items()}
        changed[name] = [values[index] for index in rows]
        found = predictor.score_table(changed).astype(np.float64)
        for index, change, score in zip(rows, _change(schema, scores[rows], found).tolist(), found, strict=True):
            if np.isnan(farthest[index]) or abs(change) > abs(farthest[index]):
                farthest[index], after[index], put[index] = change, score, values[index]
    worst = None
    if not np.isnan(farthest).all():
        index = int(np.nanargmax(against(expectation, farthest)))
        worst = {
            "row": {entry.name: _shown(columns[entry.name][index]) for entry in schema.fields if not entry.pii},
            # A personal value stays out, changed or not.
            "changed_to": None if field.pii else _shown(put[index]),
            "before": scores[index].tolist(),
            "after": after[index].tolist(),
        }
    return Trial(expectation, farthest, worst)


def unchanged_histories(expectation: Behaviour, features: Mapping[str, FeatureParams]) -> list[str]:
    """Return the histories that were computed from the column, and that a trial leaves as they are."""
    return [name for name, entry in histories(features).items() if expectation.column in entry.columns()]


def _values(expectation: Behaviour, schema: FeatureSchema) -> tuple[Any, ...]:
    kind = next(entry.kind for entry in schema.fields if entry.name == expectation.column)
    if kind == "boolean":
        return (False, True)
    if expectation.values != "all":
        return expectation.values or ()
    lists = (transforms.listed(feature) for feature in schema.features if expectation.column in feature.inputs)
    return tuple(sorted({value for found in lists for value in found or ()}))


def _moved(own: Sequence[Any], by: float | None, field: Field) -> list[float | None]:
    lowest = -np.inf if field.minimum is None else field.minimum
    highest = np.inf if field.maximum is None else field.maximum
    moved = (None if value is None or by is None else value + by for value in own)
    return [value if value is not None and lowest <= value <= highest else None for value in moved]


def _replaced(own: Sequence[Any], values: Sequence[Any]) -> list[list[Any]]:
    # A missing value stays missing: another one would add what nobody knew.
    return [[None if before is None else value for before in own] for value in values]


def _change(schema: FeatureSchema, before: Scores, after: Scores) -> Scores:
    moved = after - before
    if moved.ndim == 1:
        return moved
    if TASKS[schema.task].has_quantiles:
        middle: Scores = moved[:, moved.shape[1] // 2]
        return middle
    farthest: Scores = moved[np.arange(len(moved)), np.abs(moved).argmax(axis=1)]
    return farthest


def _shown(value: Any) -> Any:
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
