"""A study: trials in batches, each batch a function of the finished trials of earlier batches alone.

So neither the order in which processes finish, nor a kill at any moment, changes a trial.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from pipelines.models.tuning import applied
from pipelines.params.train import FamilyParams
from pipelines.params.tune import Range
from pipelines.stages.tune.space import Parameters, distributions, rounded
from pipelines.stages.tune.trials import Outcome, Task, short

SAMPLER = {"tpe": {"n_startup_trials": 8}}


class Plan(NamedTuple):
    """The space of a search.

    Attributes:
        settings: those of `train`, for a trial with one thread.
        first: the parameters of the first trials; of the very first none, so that it has the settings of `train`.
        rows: the number of validation rows, or the sum of their weights.
    """

    settings: FamilyParams
    space: Mapping[str, Range]
    first: Sequence[Parameters]
    trials: int
    batch: int
    rows: float


class Trial(NamedTuple):
    """A finished trial; `loss` and `sums` are None if it was pruned (see `Outcome`)."""

    parameters: Parameters
    loss: float | None
    rounds: int | None
    sums: list[float] | None


def proceed(
    study: Any,
    plan: Plan,
    outcomes: Callable[[Sequence[Task]], Iterator[Outcome]],
    told: Callable[[Sequence[Trial]], None],
) -> list[Trial]:
    """Do the trials that are missing in the study, and return all; call `told` with those that are finished, after each."""
    while (count := len(study.trials)) < plan.trials:
        start = count // plan.batch * plan.batch
        earlier = study.trials[:start]
        asked = _asked(plan, earlier, min(plan.batch, plan.trials - start))[count - start :]
        curves = [trial.intermediate_values for trial in earlier if trial.user_attrs["sums"] is not None]
        tasks = [Task(applied(plan.settings, parameters), curves) for parameters in asked]
        for parameters, outcome in zip(asked, outcomes(tasks), strict=True):
            study.add_trial(_record(parameters, outcome, plan))
            told(finished(study))
    return finished(study)[: plan.trials]


def finished(study: Any) -> list[Trial]:
    """Return the trials of a study."""
    return [
        Trial(
            trial.user_attrs["parameters"],
            None if trial.user_attrs["sums"] is None else trial.value,
            trial.user_attrs["rounds"],
            trial.user_attrs["sums"],
        )
        for trial in study.trials
    ]


def _asked(plan: Plan, earlier: Sequence[Any], count: int) -> list[Parameters]:
    """Return the parameters of the trials after these, which are those of whole batches.

    A sampler has no memory but its random state, which no storage keeps: one of each batch has a seed of its own.
    """
    import optuna

    sampler = optuna.samplers.TPESampler(seed=plan.settings.seed % 2**31 + len(earlier), **SAMPLER["tpe"])
    study = optuna.create_study(sampler=sampler)
    study.add_trials(list(earlier))
    space = distributions(plan.space, plan.settings)
    sampled = [rounded(study.ask(space).params, plan.space) for _ in range(count)]
    fixed = plan.first[len(earlier) : len(earlier) + count]
    return [*fixed, *sampled[len(fixed) :]]


def _record(parameters: Parameters, outcome: Outcome, plan: Plan) -> Any:
    """Return the trial as Optuna keeps it; values outside of the space, as those of `train` may be, teach the sampler nothing."""
    from optuna.trial import TrialState, create_trial

    space = distributions(plan.space, plan.settings)
    values = {name: getattr(applied(plan.settings, parameters), name) for name in space}
    known = {name: value for name, value in values.items() if plan.space[name].holds(value)}
    is_pruned = outcome.sums is None
    return create_trial(
        state=TrialState.PRUNED if is_pruned else TrialState.COMPLETE,
        value=list(outcome.curve.values())[-1] if outcome.sums is None else short(sum(outcome.sums) / plan.rows),
        params=known,
        distributions={name: space[name] for name in known},
        intermediate_values=outcome.curve,
        user_attrs={"parameters": parameters, "rounds": outcome.rounds, "sums": outcome.sums},
    )
