"""The encoded training table: one Parquet file a partition, read in batches, by column, or whole."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from contract.errors import DataRejectedError
from contract.files import sha256
from pipelines.data import tables
from pipelines.data.clusters import Clusters

BATCH_ROWS = 65_536
# Columns beside the features: the outcome, whether the row is for validation, and optionally its weight, float32, and its cluster
# (`pipelines.data.clusters`), without which each row is one.
LABEL = "__label__"
VALIDATION = "__validation__"
WEIGHT = "__weight__"
CLUSTER = "__cluster__"
_OTHERS = (LABEL, VALIDATION, WEIGHT, CLUSTER)
Matrix = NDArray[np.float32]


class Part(Enum):
    """The rows of a batch: all of them, those for training, or those for early stopping."""

    ALL = None
    TRAINING = False
    VALIDATION = True


@dataclass(frozen=True)
class Batch:
    """Neighbouring rows.

    Attributes:
        matrix: float32, rows × features, C-contiguous, NaN for missing.
        outcomes: of each row the index of the label, or the number.
        is_validation: rows for early stopping; the model is then trained on all rows.
        weights: float32, or None if every row counts the same.
        clusters: the numbers of their clusters, or None where each row is one.
    """

    matrix: Matrix
    outcomes: NDArray[Any]
    is_validation: NDArray[np.bool_]
    weights: NDArray[np.float32] | None = None
    clusters: Clusters | None = None


@dataclass(frozen=True)
class Rows:
    """The rows before the hold-out, in the order of their partitions.

    Attributes:
        directory: holds a Parquet file a partition, in row groups of at most `BATCH_ROWS` rows.
    """

    directory: Path

    @cached_property
    def files(self) -> tuple[Path, ...]:
        """The files, in the order of their rows."""
        if found := tuple(sorted(self.directory.glob("*.parquet"))):
            return found
        raise DataRejectedError(f"{self.directory} contains no training rows; run `dvc repro features` to encode them")

    @cached_property
    def heights(self) -> tuple[int, ...]:
        """The number of rows of each file."""
        return tuple(tables.height(path) for path in self.files)

    @property
    def height(self) -> int:
        """The number of rows."""
        return sum(self.heights)

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The names of all columns."""
        return tuple(tables.columns_in(self.files[0]))

    @property
    def feature_names(self) -> list[str]:
        """The names of the features, in the order of the matrix."""
        return [name for name in self.columns if name not in _OTHERS]

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of the files' own SHA-256, in hex."""
        return hashlib.sha256("\n".join(map(sha256, self.files)).encode()).hexdigest()

    def batches(self, part: Part = Part.ALL, at_once: int = BATCH_ROWS) -> Iterator[Batch]:
        """Yield the rows of a part in order, in one read of the files; a batch has at most `at_once` rows, of one file."""
        for table in self.slices(at_once):
            chosen = table if part is Part.ALL else table.filter(pl.col(VALIDATION) == part.value)
            if chosen.height:
                yield self.batch(chosen)

    def sample(self, most: int) -> Batch:
        """Return all rows, or of more than `most` rows so many, evenly spaced and in order."""
        count = min(self.height, most)
        chosen, parts, start = np.arange(count, dtype=np.int64) * self.height // count, [], 0
        for table in self.slices(BATCH_ROWS):
            parts.append(table[chosen[(start <= chosen) & (chosen < start + table.height)] - start])
            start += table.height
        return self.batch(pl.concat(parts))

    def column(self, name: str) -> NDArray[Any]:
        """Return one column of all rows."""
        return np.concatenate([tables.read(path, [name])[name].to_numpy() for path in self.files])

    def feature(self, index: int) -> Matrix:
        """Return one feature of all rows, by its position."""
        return self.column(self.feature_names[index])

    @cached_property
    def outcomes(self) -> NDArray[Any]:
        """The outcomes of all rows; see `Batch`."""
        return self.column(LABEL)

    @cached_property
    def is_validation(self) -> NDArray[np.bool_]:
        """Whether each row is for validation."""
        return self.column(VALIDATION)

    @cached_property
    def weights(self) -> NDArray[np.float32] | None:
        """The weights of all rows, or None."""
        return self.column(WEIGHT) if WEIGHT in self.columns else None

    @cached_property
    def clusters(self) -> Clusters:
        """The cluster of each row; where the files have none, each row is one."""
        return self.column(CLUSTER) if CLUSTER in self.columns else np.arange(self.height)

    @property
    def matrix(self) -> Matrix:
        """The features of all rows, read anew at each access: the one call here that holds the whole table in memory."""
        matrix, start = np.empty((self.height, len(self.feature_names)), np.float32), 0
        for batch in self.batches():
            matrix[start : start + len(batch.matrix)] = batch.matrix
            start += len(batch.matrix)
        return matrix

    def slices(self, at_once: int) -> Iterator[pl.DataFrame]:
        """Yield the rows as tables, as `batches` cuts them."""
        for path, height in zip(self.files, self.heights, strict=True):
            for start in range(0, height, at_once):
                yield tables.read_slice(path, start, at_once)

    def batch(self, table: pl.DataFrame) -> Batch:
        """Return the rows of a table as arrays."""
        return Batch(
            table.select(self.feature_names).to_numpy(order="c"),
            table[LABEL].to_numpy(),
            table[VALIDATION].to_numpy(),
            table[WEIGHT].to_numpy() if WEIGHT in self.columns else None,
            table[CLUSTER].to_numpy() if CLUSTER in self.columns else None,
        )


def write(path: Path, names: Sequence[str], rows: Batch) -> None:
    """Write the rows of one partition, however many, as `Rows` reads them; `names` are those of the features."""
    others = {LABEL: rows.outcomes, VALIDATION: rows.is_validation, WEIGHT: rows.weights, CLUSTER: rows.clusters}
    columns = [pl.Series(name, values) for name, values in others.items() if values is not None]
    table = pl.DataFrame(rows.matrix, schema=list(names), orient="row").with_columns(columns)
    tables.write(table, path, rows_in_group=BATCH_ROWS)
