"""One trial: a model of the training rows, scored on the validation rows, and pruned by round."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from contract.schema.schema import FeatureSchema
from pipelines.data.training import Part, Rows
from pipelines.models.families.registry import FAMILIES
from pipelines.models.family import Session
from pipelines.models.rounds import Round
from pipelines.params.target import TargetParams
from pipelines.statistics.losses import log_losses
from pipelines.statistics.tasks import judgement

PRUNER = {"median": {"n_startup_trials": 5, "n_warmup_steps": 2}}
_GROUPS = 1000  # of clusters; the losses of more would fill the journal, and tell no more

# By step, the validation loss.
Curve = dict[int, float]


class Task(NamedTuple):
    """A trial to do: the settings, and the curves of the trials that it is compared with."""

    settings: Any  # one of the `FAMILIES` of `pipelines.params.train`
    curves: Sequence[Curve]


class Outcome(NamedTuple):
    """The result of a trial.

    Attributes:
        curve: the validation loss by step; empty for a family without rounds.
        sums: the losses of the validation rows, times their weights, summed by group of rows (`groups`); None if the trial was pruned.
        rounds: the best round, of a pruned trial the last one; None for a family without rounds.
    """

    curve: Curve
    sums: list[float] | None
    rounds: int | None


class _PrunedError(Exception):
    pass


def run(task: Task, rows: Rows, schema: FeatureSchema, target: TargetParams) -> Outcome:
    """Do a trial; the same task on the same rows has the same outcome."""
    family = FAMILIES[task.settings.family]
    watch = _Pruning(task)
    try:
        model = family.unseen(rows, task.settings, schema, Session(watch=watch))
    except _PrunedError:
        return Outcome(watch.curve, None, watch.last)
    losses = [
        _losses(target, batch.outcomes, family.scores(model, batch.matrix, schema).astype(np.float64))
        for batch in rows.batches(Part.VALIDATION)
    ]
    sums = np.bincount(groups(rows), np.concatenate(losses) * weights(rows))
    return Outcome(watch.curve, [short(value) for value in sums.tolist()], watch.best)


def groups(rows: Rows) -> NDArray[np.int64]:
    """Return the group of each validation row: its cluster, or one of a thousand groups of clusters where there are more."""
    numbers = np.unique(rows.clusters[rows.is_validation], return_inverse=True)[1].astype(np.int64)
    return numbers % _GROUPS


def weights(rows: Rows) -> NDArray[np.float64]:
    """Return the weight of each validation row."""
    if rows.weights is None:
        return np.ones(int(rows.is_validation.sum()))
    return rows.weights[rows.is_validation].astype(np.float64)


def _losses(target: TargetParams, outcomes: NDArray[Any], scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the loss of each row, of which boosting lowers the mean: for two labels the log loss."""
    judged = judgement(target)
    if judged.form == "probability":
        return log_losses(outcomes, np.stack([1 - scores, scores], axis=1))
    return judged.losses(outcomes, scores)


def short(value: float) -> float:
    """Return nine significant digits: the next ones depend on the processor."""
    return float(f"{value:.9g}")


class _Pruning:
    """A watch that ends a trial whose loss is above the median of the others at the same step.

    A step is a sum of learning rates: at the same round a small rate would always be behind a large one.
    """

    def __init__(self, task: Task) -> None:
        self.curve: Curve = {}
        self.last: int | None = None
        self.best: int | None = None
        self._lowest = math.inf
        self._rate = getattr(task.settings, "learning_rate", 1.0)
        self._trial = _trial(task.curves)

    def __call__(self, at: Round) -> None:
        if at.loss is None:
            return
        self.last = at.number
        if at.loss < self._lowest:
            self._lowest, self.best = at.loss, at.number
        step = math.floor(at.number * self._rate)
        if step < 1 or step in self.curve:
            return
        self.curve[step] = short(at.loss)
        self._trial.report(self.curve[step], step)
        if self._trial.should_prune():
            raise _PrunedError


def _trial(curves: Sequence[Curve]) -> Any:
    """Return a trial of Optuna's beside finished ones with these curves."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(pruner=optuna.pruners.MedianPruner(**PRUNER["median"]))
    study.add_trials(
        [optuna.trial.create_trial(value=min(curve.values()), intermediate_values=curve) for curve in curves if curve]
    )
    return study.ask()
