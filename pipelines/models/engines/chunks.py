"""Boosting in chunks of rounds, with a seed and a checkpoint each, so that a resumed training gives the bytes of an uninterrupted one.

XGBoost does not save the state of its random numbers. It begins anew here with each chunk, in every training; the length of a chunk is
part of the model's identity (docs/adr/0019-checkpoints.md).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from pipelines.models.engines.checkpoints import Checkpoint, Series
from pipelines.models.rounds import Round, Watch


@dataclass(frozen=True)
class Plan:
    """The rounds of one pass.

    Attributes:
        title: what is trained, such as `training on all rows`.
        rounds: the largest number of rounds.
        patience: rounds without improvement after which the pass ends; None for a pass without validation rows.
        chunk: rounds from one seed and checkpoint to the next.
    """

    title: str
    rounds: int
    patience: int | None
    chunk: int
    seed: int


class Engine(Protocol):
    """Grows trees, on this machine or on others."""

    def grow(
        self, checkpoint: Checkpoint, rounds: int, seed: int, goes_on: Callable[[float | None], bool]
    ) -> Checkpoint:
        """Return the checkpoint after that many further rounds.

        Args:
            seed: where the random numbers of these rounds begin, whatever the engine grew before.
            goes_on: takes the loss of a round; an engine may stop after a round for which it is false.
        """


def boost(engine: Engine, plan: Plan, series: Series, watch: Watch) -> Checkpoint:
    """Return the pass after its last round, resumed from the newest checkpoint; `watch` is told of all rounds, earlier ones too."""
    reached = series.newest()
    for index, loss in enumerate(reached.losses):
        watch(Round(plan.title, index + 1, plan.rounds, loss))
    while reached.rounds < plan.rounds and not is_over(reached.losses, plan.patience):
        reached = _chunk(engine, plan, reached, watch)
        series.keep(reached)
    return reached


def _chunk(engine: Engine, plan: Plan, reached: Checkpoint, watch: Watch) -> Checkpoint:
    losses = list(reached.losses)

    def goes_on(loss: float | None) -> bool:
        losses.append(loss)
        watch(Round(plan.title, len(losses), plan.rounds, loss))
        return not is_over(losses, plan.patience)

    rounds = min(plan.chunk, plan.rounds - reached.rounds)
    return engine.grow(reached, rounds, seed_of(plan.seed, reached.rounds // plan.chunk), goes_on)


def seed_of(base: int, chunk: int) -> int:
    """Return the seed of a chunk: the base for the first one, and for the others a number without a pattern."""
    if chunk == 0:
        return base
    return int(np.random.SeedSequence([abs(base), chunk]).generate_state(1)[0] >> 1)  # XGBoost takes 31 bits


def best(losses: Sequence[float | None]) -> int:
    """Return the index of the first smallest loss; NaN is never smaller."""
    found = 0
    for index, loss in enumerate(losses):
        smallest = losses[found]
        if loss is not None and smallest is not None and loss < smallest:
            found = index
    return found


def is_over(losses: Sequence[float | None], patience: int | None) -> bool:
    """Return whether so many rounds passed without improvement."""
    return patience is not None and len(losses) > 0 and len(losses) - 1 - best(losses) >= patience
