"""The outputs of one partition, in this process or on a worker of a cluster: the same bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl

from contract.model.encoder import Encoder
from contract.schema.schema import FeatureSchema
from pipelines import paths
from pipelines.data import splits, tables, training
from pipelines.data.clusters import Clusters
from pipelines.data.history import accepted, partitions
from pipelines.params.features.history import HistoryFeature
from pipelines.params.params import Data, TargetParams
from pipelines.stages.features.weights import Weights

_ROWS_AT_ONCE = 50_000  # the encoder works on Python values


@dataclass(frozen=True)
class Marks:
    """What the split decided on the rows of the table, or of one partition.

    Attributes:
        is_used: the rows for training and validation.
        weights: None if every row counts the same.
        clusters: None where each row is one.
    """

    is_used: pl.Series
    parts: pl.Series
    outcomes: pl.Series
    weights: Weights | None
    clusters: Clusters | None

    def slice(self, start: int, height: int) -> Marks:
        """Return those of neighbouring rows."""
        rows = slice(start, start + height)
        return Marks(
            self.is_used[rows],
            self.parts[rows],
            self.outcomes[rows],
            None if self.weights is None else self.weights[rows],
            None if self.clusters is None else self.clusters[rows],
        )


@dataclass(frozen=True)
class Recipe:
    """What all partitions share."""

    histories: Mapping[str, HistoryFeature]
    data: Data
    target: TargetParams
    schema: FeatureSchema

    def write(self, partition: tuple[str, Marks]) -> None:
        """Write the history of a month, if there are such features, and its used rows, if it has some."""
        month, marks = partition
        history = partitions.of_month(month, self.histories, self.data, self.target)
        if history.width:
            tables.write(history, paths.history(month))
        if marks.is_used.any():
            table = accepted.read([month], [field.name for field in self.schema.fields]).filter(marks.is_used)
            training.write(paths.training_rows(month), self.schema.feature_names, _batch(table, marks, self.schema))


def _batch(table: pl.DataFrame, marks: Marks, schema: FeatureSchema) -> training.Batch:
    used = marks.is_used.to_numpy()
    encoder = Encoder(schema)
    return training.Batch(
        np.concatenate(
            [encoder.encode_table(tables.encodable(rows, table.columns)) for rows in table.iter_slices(_ROWS_AT_ONCE)]
        ),
        marks.outcomes.filter(marks.is_used).to_numpy(),
        (marks.parts.filter(marks.is_used) == splits.VALIDATION).to_numpy(),
        None if marks.weights is None else marks.weights[used],
        None if marks.clusters is None else marks.clusters[used],
    )
