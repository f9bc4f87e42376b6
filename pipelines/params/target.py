"""`target` of `params.yaml`: what is predicted."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from pipelines.params.types import Model, Name, Share, Text


class TargetParams(Model):
    """The outcome, by kind of task."""

    column: Name = Field(
        description="Column of the outcome. Not one of `data.columns`, since a request does not carry it."
    )
    task: Literal["binary", "multiclass", "regression"] = Field(
        description="`binary` (one of two values), `multiclass` (one of several) or `regression` (a number)."
    )
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
