"""Observed predictions, gathered as they are and counted in batches: a request pays only for a place in a list."""

from __future__ import annotations

from asyncio import AbstractEventLoop, TimerHandle
from collections.abc import Callable, Iterator
from time import time_ns

import numpy as np
from numpy.typing import NDArray

from bentos.monitoring.exposition import Family
from bentos.monitoring.prediction_log import PredictionLog
from bentos.monitoring.sketches import Sketches
from contract.prediction_log.records import Call

# Counting so many rows takes half a millisecond.
BATCH_ROWS = 2048
_LOG_EVERY_S = 1.0


class Observations:
    """Rows gathered for the sketches and the prediction log, if there is one; for the event loop's thread only.

    Attributes:
        call_soon: the event loop's, so that no answer waits for the count; without a loop rows are counted at once.
    """

    def __init__(self, sketches: Sketches) -> None:
        self.call_soon: Callable[[Callable[[], None]], object] = lambda flush: flush()
        self._sketches = sketches
        self._is_due = False
        self._log: PredictionLog | None = None
        self._shadow_log: PredictionLog | None = None
        self._timer: TimerHandle | None = None
        self._matrices: list[NDArray[np.float32]] = []
        self._scores: list[NDArray[np.float32]] = []
        self._calls: list[Call] = []
        self._rows = 0
        self._mirrored: list[tuple[Call, NDArray[np.float32], NDArray[np.float32]]] = []

    def add(
        self, matrix: NDArray[np.float32], scores: NDArray[np.float32], request_id: bytes, mirrored: bytes = b""
    ) -> None:
        """Gather a request's encoded rows and their scores; the caller must not change either afterwards.

        Args:
            request_id: the caller's name of the request.
            mirrored: Envoy's name of a request that a shadow gets too.
        """
        self._matrices.append(matrix)
        self._scores.append(scores)
        if self._log is not None:
            self._calls.append((time_ns(), len(scores), request_id))
        if mirrored and self._shadow_log is not None:
            self._mirrored.append(((time_ns(), len(scores), mirrored), matrix, scores))
        self._rows += len(scores)
        if self._rows >= BATCH_ROWS and not self._is_due:
            self._is_due = True
            self.call_soon(self.flush)

    def flush(self) -> None:
        """Count the gathered rows, and offer them to the log."""
        self._is_due = False
        if not self._rows:
            return
        matrix, scores = np.concatenate(self._matrices), np.concatenate(self._scores)
        calls = self._calls
        self._matrices, self._scores, self._calls, self._rows = [], [], [], 0
        self._sketches.add(matrix, scores)
        if self._log is not None:
            self._log.offer(calls, matrix, scores)
        if self._mirrored and self._shadow_log is not None:
            mirrored, matrices, all_scores = zip(*self._mirrored, strict=True)
            self._shadow_log.offer(list(mirrored), np.concatenate(matrices), np.concatenate(all_scores))
            self._mirrored = []

    def collect(self) -> Iterator[Family]:
        """Yield the metrics of all rows so far."""
        self.flush()
        yield from self._sketches.collect()
        for log in (self._log, self._shadow_log):
            if log is not None:
                yield from log.collect()

    def start_log(self, log: PredictionLog, loop: AbstractEventLoop) -> None:
        """Log from now on; rows reach the log within a second."""
        self.flush()
        self._log = log
        self._start(loop)

    def start_shadow_log(self, log: PredictionLog, loop: AbstractEventLoop) -> None:
        """Log the requests that a shadow gets too, from now on."""
        self._shadow_log = log
        self._start(loop)

    def _start(self, loop: AbstractEventLoop) -> None:
        if self._timer is None:
            self._tick(loop)

    def stop_log(self) -> None:
        """Write the gathered rows, and close the logs."""
        self.flush()
        for log in (self._log, self._shadow_log):
            if log is not None:
                log.close()
        self._log = self._shadow_log = None
        if self._timer is not None:
            self._timer.cancel()

    def _tick(self, loop: AbstractEventLoop) -> None:
        self.flush()
        self._timer = loop.call_later(_LOG_EVERY_S, self._tick, loop)
