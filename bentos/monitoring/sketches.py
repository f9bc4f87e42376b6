"""The distributions of features and predictions, in the bins of the model's reference: counts and drift."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import accumulate
from time import monotonic

import numpy as np
from numpy.typing import NDArray

from bentos.monitoring.exposition import Family, labels
from contract.model.reference import Bins, Counter, Reference, predicted, stability_index
from contract.schema.schema import FeatureSchema
from contract.schema.tasks import TASKS

# A row's weight halves in 17 hours. A shorter window would report drift every night, for each feature with a daily cycle.
WINDOW_S = 86_400.0
# Rows in the window before a PSI is reported. Source: for two samples of one distribution its mean is (bins - 1) / rows (Yurdakul,
# Statistical Properties of Population Stability Index, 2018), which is 0.04 for the 23 bins of a category.
MINIMUM_ROWS = 500


class Sketch:
    """The rows of columns by bin, since the start and in the window.

    Attributes:
        bins: of each column.
    """

    def __init__(self, bins: Sequence[Bins]) -> None:
        self.bins = bins
        self._counter = Counter(bins)
        self._totals = np.zeros(self._counter.total, np.int64)
        self._window = np.zeros(self._counter.total)
        ends = list(accumulate(len(each.names) for each in bins))
        self._parts = [slice(end - len(each.names), end) for each, end in zip(bins, ends, strict=True)]

    def add(self, columns: NDArray[np.float32], decay: float) -> None:
        """Multiply the window's counts by `decay`, then count these rows; `columns` has the shape (columns, rows)."""
        counts = self._counter.count(columns)
        self._totals += counts
        self._window *= decay
        self._window += counts

    def totals(self, column: int) -> list[int]:
        """Return the rows of a column by bin."""
        rows: list[int] = self._totals[self._parts[column]].tolist()
        return rows

    def drift(self, column: int) -> float | None:
        """Return the PSI of a column's window to the reference; None while too few rows are in it."""
        window = self._window[self._parts[column]]
        return None if window.sum() < MINIMUM_ROWS else stability_index([self.bins[column].rows, window])


class Sketches:
    """The sketches of the predictions and of every feature made without a PII field."""

    def __init__(self, schema: FeatureSchema, reference: Reference, model_version: str) -> None:
        self._schema, self._task = schema, TASKS[schema.task]
        self._version = labels({"model_version": model_version})
        names = schema.feature_names
        self._columns = [names.index(name) for name in reference.features]
        self._names = [f"{labels({'feature': name})},{self._version}" for name in reference.features]
        self._features = Sketch(list(reference.features.values()))
        self._bins = [
            [f"{labels({'bin': bin_name})},{feature}" for bin_name in bins.names]
            for feature, bins in zip(self._names, self._features.bins, strict=True)
        ]
        self._prediction = Sketch([reference.prediction])
        self._labels = np.zeros(len(schema.target.labels), np.int64)
        self._sum = 0.0
        self._added = monotonic()

    def add(self, matrix: NDArray[np.float32], scores: NDArray[np.float32]) -> None:
        """Count rows in the form in which `contract.model.predictor.Predictor` encoded and scored them."""
        now = monotonic()
        decay = math.exp((self._added - now) / WINDOW_S)
        self._added = now
        self._features.add(matrix.T[self._columns], decay)
        outcomes = predicted(self._schema.task, scores)
        self._prediction.add(outcomes[np.newaxis], decay)
        if self._task.has_many_labels:
            self._labels += np.bincount(outcomes.astype(np.int64), minlength=len(self._labels))
            return
        self._sum += float(outcomes.sum(dtype=np.float64))
        if self._schema.target.threshold is not None:
            # As the predictor compares: in double precision.
            positive = int(np.count_nonzero(outcomes.astype(np.float64) >= self._schema.target.threshold))
            self._labels += (len(outcomes) - positive, positive)

    def collect(self) -> Iterator[Family]:
        """Yield counts, reference and drift of the features, then counts and drift of the predictions."""
        yield from self._collect_features()
        yield from self._collect_predictions()

    def _collect_features(self) -> Iterator[Family]:
        rows = Family("bulkhead_feature_rows", "counter", "Rows by bin of each feature")
        reference = Family("bulkhead_feature_reference_rows", "gauge", "Rows of the training by bin of each feature")
        drift = Family(
            "bulkhead_feature_drift_psi", "gauge", "Population stability index of about a day to the training"
        )
        for column, (feature, bins) in enumerate(zip(self._names, self._bins, strict=True)):
            trained = self._features.bins[column].rows
            for of_bin, count, of_training in zip(bins, self._features.totals(column), trained, strict=True):
                rows.add(of_bin, count)
                reference.add(of_bin, of_training)
            if (index := self._features.drift(column)) is not None:
                drift.add(feature, index)
        yield from (rows, reference, drift)

    def _collect_predictions(self) -> Iterator[Family]:
        sketch = self._prediction
        if not self._task.has_many_labels:
            values = Family(
                "bulkhead_prediction",
                "histogram",
                "Predicted probabilities of the positive label, values, or middle quantiles",
            )
            values.add_histogram(self._version, sketch.bins[0].edges, sketch.totals(0)[:-1], self._sum)
            yield values
        if self._schema.target.labels:
            predictions = Family("bulkhead_predicted_labels", "counter", "Predictions by label")
            for label, count in zip(self._schema.target.labels, self._labels.tolist(), strict=True):
                predictions.add(f"{labels({'label': label})},{self._version}", count)
            yield predictions
        drift = Family(
            "bulkhead_prediction_drift_psi", "gauge", "Population stability index of about a day to the training"
        )
        if (index := sketch.drift(0)) is not None:
            drift.add(self._version, index)
        yield drift
