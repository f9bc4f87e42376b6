"""Predictions of one round of the event loop that are scored together.

The model's trees empty the processor's caches, so that what follows a prediction takes up to two fifths longer. Requests of some rows are
therefore read and encoded one after the other, scored in one call, and answered one after the other. A row's scores do not depend on the
rows beside it. A request waits for those that the same poll has returned, at most until there are enough rows, a request that does not
wait is answered, or the round ends.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import accumulate
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from bentos.guards.admission import Admission
from contract.model.predictor import Predictor

_ENOUGH = 256  # rows: more together gain no more, and the first would wait longer
Said = TypeVar("Said")
Scores = NDArray[np.float32]
Score = Callable[[], Scores]


@dataclass(slots=True)
class Unscored(Generic[Said]):
    """A prediction whose rows are encoded, but not scored.

    Attributes:
        answer: from the scores of `matrix` to what the caller gets; raises what the prediction raises.
    """

    matrix: NDArray[np.float32]
    answer: Callable[[Scores], Said]


class Rounds:
    """The predictions that wait to be scored in this round, for the event loop's thread only."""

    def __init__(self, predictor: Predictor, admission: Admission) -> None:
        self._predictor = predictor
        self._admission = admission
        self._waiting: list[tuple[NDArray[np.float32], Callable[[Score], None]]] = []
        self._rows = 0
        admission.before_end = self.flush

    def alone(self, matrix: NDArray[np.float32]) -> Score:
        """Return a function that scores these rows, which wait for no others."""
        return lambda: self._predictor.score_matrix(matrix)

    def add(self, matrix: NDArray[np.float32], resume: Callable[[Score], None]) -> None:
        """Score the rows of the request admitted last by the end of this round.

        Args:
            resume: called once; it must not raise. Its argument returns the scores, or raises what scoring raised.
        """
        if self._rows + len(matrix) > _ENOUGH:
            self.flush()
        self._waiting.append((matrix, resume))
        self._rows += len(matrix)
        self._admission.hold(len(matrix))
        if self._rows >= _ENOUGH or not self._admission.is_running:
            self.flush()

    def flush(self) -> None:
        """Score what waits, and resume it in its order."""
        if not self._waiting:
            return
        started = self._admission.clock()
        waiting, self._waiting, self._rows = self._waiting, [], 0
        if len(waiting) == 1:
            ((matrix, resume),) = waiting
            resume(self.alone(matrix))
        else:
            matrices = [matrix for matrix, _ in waiting]
            together = _Together(lambda: self._predictor.score_matrix(np.concatenate(matrices)))
            ends = list(accumulate(map(len, matrices)))
            for (matrix, resume), end in zip(waiting, ends, strict=True):
                resume(together.part(end - len(matrix), end))
        self._admission.release(started)


class _Together:
    """Scores of several requests, made for the first one that asks, so that each raises what scoring raised."""

    def __init__(self, score: Score) -> None:
        self._score = score
        self._scores: Scores | None = None

    def part(self, first: int, end: int) -> Score:
        """Return a function that returns the scores of these rows."""

        def part() -> Scores:
            if self._scores is None:
                self._scores = self._score()
            return self._scores[first:end]

        return part
