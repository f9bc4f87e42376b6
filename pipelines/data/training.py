"""The encoded training table: one Parquet file a partition, read in batches, by column, or whole."""

from __future__ import annotations

import hashlib
import itertools
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
from pipelines.data.cuts import Distinct, distinct

BATCH_ROWS = 65_536
# A table of so many bytes, as float32, stays in memory once it is read, instead of being read a dozen times.
SMALL_BYTES = 128 * 2**20
# Distinct values that stay in memory: of one feature, and of all together, of which the latter take 100 MB with their counts.
_FEW, _KEPT = 2**17, 2**23
# Columns beside the features: the outcome, whether the row is for validation, and optionally its weight, float32, and its cluster
# (`pipelines.data.clusters`), without which each row is one.
LABEL = "__label__"
VALIDATION = "__validation__"
WEIGHT = "__weight__"
CLUSTER = "__cluster__"
_OTHERS = (LABEL, VALIDATION, WEIGHT, CLUSTER)
Matrix = NDArray[np.float32]
Span = tuple[int, int, int]  # a slice of a file: its index in `Rows.files`, the first row, the number of rows


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

    @property
    def is_small(self) -> bool:
        """Whether the table stays in memory once it is read."""
        return self.height * len(self.columns) * np.float32().itemsize <= SMALL_BYTES

    def batches(self, part: Part = Part.ALL, at_once: int = BATCH_ROWS) -> Iterator[Batch]:
        """Yield the rows of a part in order; a batch has at most `at_once` rows, of one file. Slices without such rows are not read."""
        for span, chosen in self.chosen(part, at_once):
            yield self.slice(span, chosen)

    def slice(self, span: Span, chosen: NDArray[np.bool_] | None = None) -> Batch:
        """Return the rows of a slice, or the chosen ones of them."""
        table = self._slice(*span)
        return self.batch(table if chosen is None else table.filter(pl.Series(chosen)))

    def chosen(self, part: Part, at_once: int = BATCH_ROWS) -> Iterator[tuple[Span, NDArray[np.bool_] | None]]:
        """Yield the slices that have rows of a part, and which of their rows these are; None for all."""
        for span in self.spans(at_once):
            file, start, count = span
            if part is Part.ALL:
                yield span, None
                continue
            behind = sum(self.heights[:file]) + start
            found = self.is_validation[behind : behind + count] == part.value
            if found.any():
                yield span, None if found.all() else found

    def sample(self, most: int) -> Batch:
        """Return all rows, or of more than `most` rows so many, evenly spaced and in order; the same ones stay in memory."""
        if (found := self._samples.get(most)) is None:
            found = self._samples[most] = self._sampled(most)
        return found

    @cached_property
    def _samples(self) -> dict[int, Batch]:
        return {}

    def _sampled(self, most: int) -> Batch:
        """Read the rows of `sample`."""
        count = min(self.height, most)
        chosen, parts, start = np.arange(count, dtype=np.int64) * self.height // count, [], 0
        for table in itertools.starmap(self._slice, self.spans(BATCH_ROWS)):
            parts.append(table[chosen[(start <= chosen) & (chosen < start + table.height)] - start])
            start += table.height
        return self.batch(pl.concat(parts))

    def column(self, name: str) -> NDArray[Any]:
        """Return one column of all rows."""
        if self.is_small:
            return np.concatenate([table[name].to_numpy() for table in self._tables])
        return np.concatenate([tables.read(path, [name])[name].to_numpy() for path in self.files])

    def distinct(self, name: str) -> Distinct:
        """Return the distinct values of a feature; those of one with few stay in memory, for two parts of a training ask for them."""
        if (found := self._few.get(name)) is None:
            found = distinct(self.column(name))
            kept = sum(len(each.values) for each in self._few.values())
            if len(found.values) <= min(_FEW, _KEPT - kept):
                self._few[name] = found
        return found

    @cached_property
    def _few(self) -> dict[str, Distinct]:
        return {}

    def values(self, index: int) -> NDArray[np.float32]:
        """Return the distinct values of a feature, by its position; ascending, without NaN."""
        return self.distinct(self.feature_names[index]).values

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

    def spans(self, at_once: int) -> Iterator[Span]:
        """Yield all slices, in order."""
        for file, height in enumerate(self.heights):
            for start in range(0, height, at_once):
                yield file, start, min(at_once, height - start)

    @cached_property
    def _tables(self) -> tuple[pl.DataFrame, ...]:
        return tuple(map(tables.read, self.files))

    def _slice(self, file: int, start: int, count: int) -> pl.DataFrame:
        if self.is_small:
            return self._tables[file].slice(start, count)
        return tables.read_slice(self.files[file], start, count)

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
