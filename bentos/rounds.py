"""Predictions of one round of the event loop that are made together.

The model's trees empty the processor's caches, so that what follows a prediction takes up to two fifths longer. Requests of some rows are
therefore read one after the other, encoded and scored all at once, and answered one after the other. A row's scores do not depend on the
rows beside it. A request waits for those that the same poll has returned, at most until there are enough rows, a request that does not
wait is answered, or the round ends.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Generic, TypeVar

from msgspec import Struct

from bentos.errors import log_defect
from bentos.guards.admission import Admission
from contract.errors import RequestError
from contract.model.columns.program import Assumed, Columns
from contract.model.predictor import Predictor, Scored

_ENOUGH = 256  # rows: more together gain no more, and the first would wait longer
AnswerT = TypeVar("AnswerT")
Result = tuple[Scored, Assumed]
Score = Callable[[], Result]


class Unscored(Struct, Generic[AnswerT]):
    """A prediction that has been read, but not encoded and scored.

    Attributes:
        answer: from the scored rows and their fallbacks to what the caller gets; raises what the prediction raises.
    """

    columns: Columns
    answer: Callable[[Scored, Assumed], AnswerT]


class Rounds:
    """The predictions that wait to be scored in this round, for the event loop's thread only.

    Args:
        most: requests that may wait at once.
    """

    def __init__(self, predictor: Predictor, admission: Admission, most: int) -> None:
        self._predictor = predictor
        self._admission = admission
        self._most = most
        self._waiting: list[tuple[Columns, Callable[[Score], None]]] = []
        self._rows = 0
        admission.before_end = self.flush

    def alone(self, columns: Columns) -> Score:
        """Return a function that scores these rows, which wait for no others; it raises what encoding or scoring raises."""
        return lambda: _result(self._predictor.score_columns([columns])[0])

    def add(self, columns: Columns, resume: Callable[[Score], None]) -> None:
        """Score the rows of the request admitted last by the end of this round.

        Args:
            resume: called once; what it raises is logged. Its argument returns the result, or raises what encoding or scoring raised.
        """
        self._admission.withdraw()  # first: what a flush lets admission learn would go with it
        if self._rows + columns.size > _ENOUGH:
            self.flush()
        self._waiting.append((columns, resume))
        self._rows += columns.size
        self._admission.hold(columns.size)
        if self._rows >= _ENOUGH or len(self._waiting) >= self._most or not self._admission.is_running:
            self.flush()

    def flush(self) -> None:
        """Score what waits, and resume it in its order."""
        if not self._waiting:
            return
        started = self._admission.clock()
        waiting, self._waiting, self._rows = self._waiting, [], 0
        try:
            requests = [columns for columns, _ in waiting]
            scores = self._together(requests) if len(requests) > 1 else []
            for (_, resume), score in zip(waiting, scores or map(self.alone, requests), strict=True):
                try:
                    resume(score)
                except Exception as error:  # noqa: BLE001  # a defect of one connection, which the others must not notice
                    log_defect(error)
        finally:
            self._admission.release(started)

    def _together(self, requests: list[Columns]) -> list[Score]:
        """Return a function for each of several requests; none if the model fails, so that each must be tried alone."""
        try:
            return [partial(_result, found) for found in self._predictor.score_columns(requests)]
        except Exception as error:  # noqa: BLE001  # the last line of defence: alone, others may succeed
            log_defect(error)
            return []


def _result(found: Result | RequestError) -> Result:
    if isinstance(found, RequestError):
        raise found
    return found
