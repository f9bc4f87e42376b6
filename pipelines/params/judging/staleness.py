"""`evaluate.staleness` of params.yaml: how models of earlier months do on later ones."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from pipelines.params.judging.split import Split, TemporalSplit
from pipelines.params.types import Model


class Staleness(Model):
    """Models that are trained up to an earlier month each, and judged on the months after it."""

    models: int = Field(
        default=3,
        ge=2,
        le=24,
        description="Number of models. The newest is trained up to the month before the last one with rows outside of the hold-out, "
        "each other one up to a month earlier.",
    )
    months: int = Field(
        default=3,
        ge=2,
        le=24,
        description="Largest age, in months, at which a model is judged; at most `models`.",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.months > self.models:
            raise ValueError(
                f"months: {self.months} needs as many models (models is {self.models}): a model of that age is compared with fresher ones"
            )
        return self

    def check(self, split: Split) -> None:
        """Raise ValueError for a split that is not by time."""
        if not isinstance(split, TemporalSplit):
            raise ValueError(
                "evaluate.staleness needs split.kind temporal: without a time no row is later than another; remove the key"
            )
