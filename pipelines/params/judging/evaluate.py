"""`evaluate` of `params.yaml`: the figures of the hold-out."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from pipelines.params.judging.behaviour import Behaviour
from pipelines.params.target import TargetParams
from pipelines.params.types import Model, Part


class Slice(Model):
    """Rows of the hold-out that share a value, scored separately in the report."""

    column: str = Field(description="Column whose values define the groups.")
    part: Part | None = Field(default=None, description="Of a timestamp: the part of it that defines the groups.")

    @property
    def name(self) -> str:
        """The slice's name in the report."""
        return f"{self.column}_{self.part}" if self.part else self.column


class Decisions(Model):
    """Costs of the answered labels, for targets with labels."""

    costs: tuple[tuple[Annotated[float, Field(allow_inf_nan=False)], ...], ...] = Field(
        description="A row for each actual label, a column for each answered one, both in the order of `target.labels`: the cost of one "
        "such decision, such as `[[0, 1], [12, 0]]`. A gain is below 0."
    )
    currency: str = Field(default="", description="Unit of the costs, for people.")

    def check(self, target: TargetParams) -> None:
        """Raise ValueError unless the costs fit the labels, and a right answer is never dearer than a wrong one."""
        count = len(target.labels)
        if not count:
            raise ValueError(f"evaluate.decisions goes with labels only (the task is {target.task}); remove it")
        if len(self.costs) != count or any(len(row) != count for row in self.costs):
            shape = " and ".join(str(len(row)) for row in self.costs)
            raise ValueError(
                f"evaluate.decisions.costs must have {count} rows of {count} numbers, one for each of the labels "
                f"{', '.join(target.labels)} (it has {len(self.costs)} rows, of {shape or 'no'} numbers)"
            )
        for label, (index, row) in zip(target.labels, enumerate(self.costs), strict=True):
            if any(cost <= row[index] for other, cost in enumerate(row) if other != index):
                raise ValueError(
                    f"evaluate.decisions.costs: answering {label!r} rightly costs {row[index]:g}, no less than a wrong answer; the "
                    "smallest number of each row belongs on the diagonal"
                )


class Evaluate(Model):
    """Settings of the evaluation on the hold-out."""

    decisions: Decisions | None = Field(
        default=None,
        description="Costs of decisions, by which the report shows a threshold and the cost. Null: none are shown.",
    )
    slices: tuple[Slice, ...] = Field(default=(), description="Groups that the report scores separately.")
    behaviour: tuple[Behaviour, ...] = Field(
        default=(), description="Expectations of how the score moves when one field of a row changes."
    )
    bootstrap: int = Field(
        default=2000,
        ge=100,
        description="Number of resamples for the confidence bounds: of whole days if there is a time, of whole entities for a grouped "
        "split, else of rows.",
    )
