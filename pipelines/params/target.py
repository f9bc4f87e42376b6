"""`target` of `params.yaml`: the predicted column."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import Field, model_validator

from contract.errors import ConfigurationError
from contract.schema.tasks import TASKS, Objective, Task
from pipelines.params.types import Model, Name, Share, Text

if TYPE_CHECKING:
    TaskName = str
    ObjectiveName = str
else:
    TaskName = Literal[tuple(TASKS)]
    ObjectiveName = Literal[tuple(each.name for task in TASKS.values() for each in task.objectives)]
_MEANT = [f"`{each.name}` ({each.statistic})" for each in TASKS["regression"].objectives]
_TASKS = [f"`{task.name}` ({task.meaning})" for task in TASKS.values()]


class TargetParams(Model):
    """The outcome, by task."""

    column: Name = Field(
        description="Column of the outcome. Not one of `data.columns`, since a request does not carry it."
    )
    task: TaskName = Field(description=f"{', '.join(_TASKS[:-1])} or {_TASKS[-1]}.")
    labels: tuple[Text, ...] = Field(
        default=(),
        description="Binary: the two values, the negative one first. Multiclass: three or more, in the order of responses. Regression: "
        "none.",
    )
    unit: str | None = Field(default=None, description="Regression and quantiles: unit of the number, for people.")
    objective: ObjectiveName | None = Field(
        default=None,
        description=f"Regression: loss that training minimises and evaluation measures, one of {', '.join(_MEANT)}. Null: "
        f"`{TASKS['regression'].objectives[0].name}`.",
    )
    slope: Annotated[float, Field(gt=0)] | None = Field(
        default=None,
        description="Of `huber`: error, in the unit of the target, from which the loss grows linearly.",
    )
    power: Annotated[float, Field(gt=1, lt=2)] | None = Field(
        default=None,
        description="Of `tweedie`: power of the mean with which the variance grows; 1.5 is usual, less is nearer to `poisson`, more to "
        "`gamma`.",
    )
    weight: Name | None = Field(
        default=None,
        description="Column of kind number in `data.columns` that says how much a row counts in training and early stopping, from 0. "
        "No feature may read it, so no request carries it. Null: all count the same. Evaluation weighs no row.",
    )
    class_weight: Literal["balanced"] | dict[Text, Annotated[float, Field(gt=0)]] | None = Field(
        default=None,
        description="How much the rows of a label count in training, times their `weight`: by label, 1 for others, or `balanced`, "
        "which gives all labels the same sum. It moves the predicted probabilities; `train.calibration` moves them back.",
    )
    quantiles: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field(
        default=(), description="Task `quantiles`: the levels, ascending, such as `[0.1, 0.5, 0.9]`."
    )
    missing: Share = Field(
        default=0.0, description="Largest share of rows without a label in a month. They are counted, not learned from."
    )
    threshold: Share = Field(
        default=0.5, description="Binary: probability from which the label of a response is the positive one."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        count = len(self.labels)
        if "" in self.labels:
            raise ValueError("labels must not be blank: a blank outcome is a missing one")
        if len(set(self.labels)) != count:
            raise ValueError(f"labels must differ from each other (they are {', '.join(self.labels)})")
        task = TASKS[self.task]
        if not task.takes(count):
            raise ValueError(f"labels of a {self.task} target must be {task.labels} (there are {count})")
        if not task.has_positive and "threshold" in self.model_fields_set:
            raise ValueError(f"threshold goes with two labels only (the task is {self.task})")
        if not task.is_number and self.unit is not None:
            raise ValueError(f"unit goes with a number only (the task is {self.task})")
        self._check_objective(task)
        if self.class_weight is not None and task.is_number:
            raise ValueError(f"class_weight goes with labels only (the task is {self.task})")
        if isinstance(self.class_weight, dict) and (unknown := self.class_weight.keys() - set(self.labels)):
            raise ValueError(f"class_weight names {min(unknown)!r}, which is no label: {', '.join(self.labels)}")
        return self

    def _check_objective(self, task: Task) -> None:
        objective = task.objective(self.objective)
        given = {name for name in ("slope", "power", "quantiles") if getattr(self, name)}
        if unread := given - set(objective.parameters):
            raise ValueError(f"{min(unread)} does not go with the objective {objective.name} (the task is {self.task})")
        for name in objective.parameters:
            if name not in given:
                raise ValueError(f"{name} is required by the objective {objective.name}")
        if list(self.quantiles) != sorted(set(self.quantiles)):
            raise ValueError(f"quantiles must ascend, without repeats (they are {', '.join(map(str, self.quantiles))})")

    @property
    def judged_by(self) -> Objective:
        """The objective, where none is named the task's default."""
        return TASKS[self.task].objective(self.objective)

    def check_outcomes(self, smallest: float) -> None:
        """Raise ConfigurationError if the objective does not allow the smallest outcome of the table."""
        objective = self.judged_by
        if not objective.allows(smallest):
            other = ", ".join(each.name for each in TASKS[self.task].objectives if each.allows(smallest))
            raise ConfigurationError(
                f"target.objective is {objective.name}, which takes {objective.outcomes}, but the smallest {self.column!r} is "
                f"{smallest:g}; allowed for these outcomes: {other}"
            )
