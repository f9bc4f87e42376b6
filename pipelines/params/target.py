"""`target` of `params.yaml`: the predicted column."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from contract.schema.tasks import TASKS
from pipelines.params.types import Model, Name, Share, Text

if TYPE_CHECKING:
    TaskName = str
else:
    TaskName = Literal[tuple(TASKS)]
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
    unit: str | None = Field(default=None, description="Regression: unit of the value, for people.")
    missing: Share = Field(
        default=0.0, description="Largest share of rows without a label in a month. They are counted, not learned from."
    )
    threshold: Share = Field(
        default=0.5, description="Binary: probability from which the label of a response is the positive one."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        count = len(self.labels)
        if len(set(self.labels)) != count:
            raise ValueError(f"labels must differ from each other (they are {', '.join(self.labels)})")
        task = TASKS[self.task]
        if not task.takes(count):
            raise ValueError(f"labels of a {self.task} target must be {task.labels} (there are {count})")
        if not task.has_positive and "threshold" in self.model_fields_set:
            raise ValueError(f"threshold goes with two labels only (the task is {self.task})")
        if not task.is_number and self.unit is not None:
            raise ValueError(f"unit goes with a number only (the task is {self.task})")
        return self
