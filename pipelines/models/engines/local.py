"""XGBoost on this machine: matrices that are filled batch by batch, and the engine that grows trees on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.data.training import BATCH_ROWS, Batch, Matrix, Part, Rows
from pipelines.models.engines.checkpoints import Checkpoint
from pipelines.models.engines.spilled import Spill
from pipelines.models.family import Session
from pipelines.params.train import XgboostParams

_PAGE_ROWS = 8 * BATCH_ROWS  # a page of external memory; smaller ones take longer, each round reads all of them
# The rows that are learned, and those that stop the rounds.
Parts = tuple[Part, Part | None]
Outcomes = Callable[[NDArray[Any]], NDArray[Any]]


@contextmanager
def matrices(settings: XgboostParams, session: Session, outcomes: Outcomes = lambda given: given) -> Iterator[Matrices]:
    """Yield the maker of matrices; the pages of external memory are deleted at the end.

    Args:
        outcomes: function from the outcomes of rows to the labels of XGBoost.
    """
    with session.scratch() if settings.memory == "external" else nullcontext() as pages:
        yield Matrices(settings.threads, pages, outcomes, session.spill)


class Matrices:
    """Makes matrices. Those of a small table, quantised ones in memory, and those in pages on the disk give the same trees."""

    def __init__(self, threads: int, pages: Path | None, outcomes: Outcomes, spill: Spill | None = None) -> None:
        self._threads, self._pages, self._outcomes, self._spill = threads, pages, outcomes, spill
        self._made = 0

    def make(self, rows: Rows, part: Part) -> Any:
        """Return the matrix of rows to learn from."""
        import xgboost

        if self._pages is not None:
            return xgboost.ExtMemQuantileDMatrix(self._iterator(rows, part, _PAGE_ROWS), nthread=self._threads)
        if rows.is_small:
            return self._plain(rows, part)
        return xgboost.QuantileDMatrix(self._iterator(rows, part, BATCH_ROWS), nthread=self._threads)

    def pair(self, rows: Rows, parts: Parts) -> tuple[Any, Any]:
        """Return the matrix of the rows to learn from, and that of the rows to score; None for no part."""
        learned, held = parts
        if held is None:
            return self.make(rows, learned), None
        if self._pages is None:
            scored = self._plain(rows, held)  # first, for while it is made it is in memory twice
            return self.make(rows, learned), scored
        import xgboost

        first = self.make(rows, learned)
        pages = self._iterator(rows, held, _PAGE_ROWS)
        return first, xgboost.ExtMemQuantileDMatrix(pages, ref=first, nthread=self._threads)

    def _batches(self, rows: Rows) -> Callable[[Part, int], Iterator[Batch]]:
        return rows.batches if self._spill is None or rows.is_small else partial(self._spill.batches, rows)

    def _plain(self, rows: Rows, part: Part) -> Any:
        """Return a matrix of floats. XGBoost makes and quantises it in half the time of a quantised one, and scores it in a quarter."""
        import xgboost

        batches = list(self._batches(rows)(part, BATCH_ROWS))
        labels = self._outcomes(np.concatenate([batch.outcomes for batch in batches]))
        weights = [batch.weights for batch in batches if batch.weights is not None]
        return xgboost.DMatrix(
            np.concatenate([batch.matrix for batch in batches]),
            labels,
            weight=np.concatenate(weights) if weights else None,
            nthread=self._threads,
        )

    def _iterator(self, rows: Rows, part: Part, at_once: int) -> Any:
        import xgboost

        outcomes, batches = self._outcomes, self._batches(rows)
        form = CompressedRows(min(at_once, max(rows.heights)), len(rows.feature_names))

        class Batches(xgboost.DataIter):  # type: ignore[misc]
            """The rows, as XGBoost asks for them: several times, from the beginning."""

            def reset(self) -> None:
                self._left: Iterator[Batch] = batches(part, at_once)

            def next(self, input_data: Callable[..., None]) -> bool:
                batch = next(self._left, None)
                if batch is None:
                    return False
                input_data(data=form.of(batch.matrix), label=outcomes(batch.outcomes), weight=batch.weights)
                return True

        self._made += 1
        iterator = Batches(cache_prefix=None if self._pages is None else str(self._pages / str(self._made)))
        iterator.reset()
        return iterator


class CompressedRows:
    """Arrays as compressed rows in which no value is left out: XGBoost takes half the time for those.

    All arrays of a width have the same indices; making them for each would take a fifteenth of the time of a quantised matrix.
    """

    def __init__(self, most: int, columns: int) -> None:
        # SciPy copies indices of any other type.
        kind = np.int32 if most * columns < 2**31 else np.int64
        self._indices = np.tile(np.arange(columns, dtype=kind), most)
        self._ends = np.arange(most + 1, dtype=kind) * columns

    def of(self, matrix: Matrix) -> Any:
        """Return an array of at most `most` rows, without a copy."""
        from scipy.sparse import csr_matrix

        indices, ends = self._indices[: matrix.size], self._ends[: len(matrix) + 1]
        return csr_matrix((matrix.reshape(-1), indices, ends), shape=matrix.shape)


class LocalEngine:
    """Grows trees in this process; see `pipelines.models.engines.chunks.Engine`.

    Args:
        asked: the settings of XGBoost.
        make: returns the matrix of the training rows, and that of the validation rows or None; a pass that is complete needs neither.
    """

    def __init__(self, asked: Mapping[str, Any], make: Callable[[], tuple[Any, Any]]) -> None:
        self._asked, self._make = dict(asked), make
        self._made: tuple[Any, Any] | None = None
        self._booster: Any = None
        self._model: bytes | None = None

    def close(self) -> None:
        """Free booster and matrices, which delete their pages; their directory goes after them."""
        self._booster = self._made = None

    @property
    def model(self) -> bytes:
        """The model that it grew last; empty before the first."""
        return self._model or b""

    def grow(
        self, checkpoint: Checkpoint, rounds: int, seed: int, goes_on: Callable[[float | None], bool]
    ) -> Checkpoint:
        """Return the checkpoint after that many further rounds, or after the first for which `goes_on` is false."""
        booster, losses = self._seeded(checkpoint.model, seed), list(checkpoint.losses)
        for index in range(checkpoint.rounds, checkpoint.rounds + rounds):
            booster.update(self._matrices[0], index)
            losses.append(self._loss(booster, index))
            if not goes_on(losses[-1]):
                break
        self._model = bytes(booster.save_raw("ubj"))
        return Checkpoint(tuple(losses), self._model)

    @property
    def _matrices(self) -> tuple[Any, Any]:
        # No cached_property: Python 3.11 locks one for all instances, and the ranks of one process make theirs together.
        if self._made is None:
            self._made = self._make()
        return self._made

    def _seeded(self, model: bytes, seed: int) -> Any:
        """Return the booster of a model, its random numbers at the beginning of the seed.

        After loading its own configuration the present booster has new updaters with new random numbers, as a booster that was read
        from the model has. But it keeps its predictions of the training rows, which a new one computes again from all trees.
        """
        import xgboost

        if self._booster is not None and model == self._model:
            self._booster.load_config(self._booster.save_config())
            self._booster.set_param({"seed": seed})
        else:
            cache = [matrix for matrix in self._matrices if matrix is not None]
            given = bytearray(model) if model else None
            self._booster = xgboost.Booster(self._asked | {"seed": seed}, cache=cache, model_file=given)
        return self._booster

    def _loss(self, booster: Any, index: int) -> float | None:
        held = self._matrices[1]
        if held is None:
            return None
        told: str = booster.eval_set([(held, "validation")], index)
        return float(told.rpartition(":")[2])
