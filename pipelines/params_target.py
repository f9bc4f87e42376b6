"""`target` of `params.yaml`: what is predicted."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from pipelines.params_types import Model, Name, Share, Text


class TargetParams(Model):
    """The outcome, by kind of task.

    Attributes:
        labels: binary: the negative and the positive value; multiclass: three or more, in the order of the class index;
            regression: none, the column is a number.
        unit: of a regression's number, for people.
        missing: largest share of rows without an outcome in a month.
        threshold: binary: the probability from which an answer's label is the positive one.
    """

    column: Name
    task: Literal["binary", "multiclass", "regression"]
    labels: tuple[Text, ...] = ()
    unit: str | None = None
    missing: Share = 0.0
    threshold: Share = 0.5

    @model_validator(mode="after")
    def _check(self) -> Self:
        count = len(self.labels)
        if len(set(self.labels)) != count:
            raise ValueError(f"labels must differ from each other (they are {', '.join(self.labels)})")
        if self.task == "binary" and count != 2:
            raise ValueError(f"labels must be two for task binary, the negative one first (there are {count})")
        if self.task == "multiclass" and count < 3:
            raise ValueError(f"labels must be three or more for task multiclass (there are {count})")
        if self.task == "regression" and count:
            raise ValueError(f"labels go with task binary or multiclass, not with regression (there are {count})")
        if self.task != "binary" and "threshold" in self.model_fields_set:
            raise ValueError(f"threshold goes with task binary only (the task is {self.task})")
        if self.task != "regression" and self.unit is not None:
            raise ValueError(f"unit goes with task regression only (the task is {self.task})")
        return self
