"""Rounds of boosting, as they are reported to whoever watches a training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple


class Round(NamedTuple):
    """A finished round.

    Attributes:
        title: what is trained, such as `training`.
        number: of the round, from 1.
        most: the largest number of rounds.
        loss: the measure on the validation rows; None if none is watched.
        unit: `round`, or what else is counted.
    """

    title: str
    number: int
    most: int
    loss: float | None = None
    unit: str = "round"


Watch = Callable[[Round], None]  # an exception that it raises ends the training


def ignored(_: Round) -> None:
    """Watch without a word."""


def each(*watches: Watch) -> Watch:
    """Return a watch that tells all of these, in order."""

    def told(at: Round) -> None:
        for watch in watches:
            watch(at)

    return told


def reported(watch: Watch, title: str, most: int, start: int = 0) -> Any:
    """Return a callback of `xgboost.train` that reports each round, numbered on from `start`.

    The loss is that of the last measure on the last of `evals`, as early stopping has it.
    """
    from xgboost.callback import TrainingCallback

    class Reported(TrainingCallback):  # type: ignore[misc]
        def after_iteration(self, _model: Any, epoch: int, evals_log: dict[str, dict[str, list[float]]]) -> bool:
            measured = list(evals_log.values())[-1:]
            loss = list(measured[0].values())[-1][-1] if measured else None
            watch(Round(title, start + epoch + 1, most, loss))
            return False

    return Reported()
