"""Batches as sparse matrices on the disk, written once.

XGBoost asks for every batch of a quantised matrix four times, and each training makes two matrices. It takes sparse batches in half the
time of dense ones with gaps, and they are mapped, not decoded.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.data.training import Batch, Part, Rows, Span

_LOG = logging.getLogger(__name__)


class SparseBatch(NamedTuple):
    """Neighbouring rows, as `pipelines.data.training.Batch` has them.

    Attributes:
        matrix: float32, in compressed rows; missing values are left out.
    """

    matrix: Any
    outcomes: NDArray[Any]
    weights: NDArray[np.float32] | None


class Spilled:
    """The rows, batch by batch, in a directory with room for eight bytes a value; without room they are read and converted anew."""

    def __init__(self, rows: Rows, directory: Path) -> None:
        self._rows, self._directory = rows, directory
        self._is_full = False

    def batches(self, part: Part, at_once: int) -> Iterator[SparseBatch]:
        """Yield the rows of a part, as `Rows.batches` cuts them."""
        for span, chosen in self._rows.chosen(part, at_once):
            if chosen is None:
                yield self._stored(span)
            else:
                yield _sparse(self._rows.slice(span, chosen))

    def _stored(self, span: Span) -> SparseBatch:
        """Return the rows of a slice, mapped from the disk, where the first call writes them."""
        place = self._directory / "-".join(map(str, span))
        if not place.exists():
            batch = _sparse(self._rows.slice(span))
            if not self._is_full:
                self._write(place, batch)
            return batch
        return _read(place, len(self._rows.feature_names))

    def _write(self, place: Path, batch: SparseBatch) -> None:
        temporary = place.with_suffix(".new")
        arrays = {name: getattr(batch.matrix, name) for name in ("data", "indices", "indptr")}
        arrays |= {"outcomes": batch.outcomes, "weights": batch.weights}
        try:
            temporary.mkdir()
            for name, array in arrays.items():
                if array is not None:
                    np.save(temporary / f"{name}.npy", array)
            temporary.rename(place)
        except OSError as error:
            self._is_full = True
            shutil.rmtree(temporary, ignore_errors=True)
            _LOG.warning("%s cannot be written (%s); batches are converted anew each time", self._directory, error)


def _sparse(batch: Batch) -> SparseBatch:
    from scipy.sparse import csr_matrix

    is_known = ~np.isnan(batch.matrix)
    ends = np.zeros(len(is_known) + 1, np.int32)
    np.cumsum(np.count_nonzero(is_known, axis=1), out=ends[1:])
    columns = np.broadcast_to(np.arange(is_known.shape[1], dtype=np.int32), is_known.shape)[is_known]
    matrix = csr_matrix((batch.matrix[is_known], columns, ends), shape=is_known.shape)
    return SparseBatch(matrix, batch.outcomes, batch.weights)


def _read(place: Path, columns: int) -> SparseBatch:
    from scipy.sparse import csr_matrix

    arrays = {path.stem: np.load(path, mmap_mode="r") for path in place.glob("*.npy")}
    ends = arrays["indptr"]
    matrix = csr_matrix((arrays["data"], arrays["indices"], ends), shape=(len(ends) - 1, columns))
    return SparseBatch(matrix, arrays["outcomes"], arrays.get("weights"))
