"""`split` of `params.yaml`: which rows a model is judged on, and which say when to stop the boosting."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pipelines.params_types import Model, Period, Text

Fraction = Annotated[float, Field(gt=0, lt=1)]


class TemporalSplit(Model):
    """The newest `holdout` is judged on, the `validation` before it stops the boosting. `1mo`, `10d` …

    Rows within `gap` before the hold-out and before the validation are used for nothing.
    """

    kind: Literal["temporal"]
    holdout: Period = "1mo"
    validation: Period = "1mo"
    gap: Period | None = None


class _Shares(Model):
    """Shares of all rows."""

    holdout: Fraction = 0.2
    validation: Fraction = 0.2
    seed: int = 0

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.holdout + self.validation >= 1:
            raise ValueError(f"holdout {self.holdout:g} and validation {self.validation:g} leave nothing to train on")
        return self


class StratifiedSplit(_Shares):
    """By chance, with the same share of every label in every part."""

    kind: Literal["stratified"]


class GroupedSplit(_Shares):
    """By chance, with all rows of one entity, a value of `column`, in the same part."""

    kind: Literal["grouped"]
    column: str


class PredefinedSplit(Model):
    """By the table itself: the rows whose `column` has a value of `holdout`, or all rows after the `first` ones.

    `validation` is a share of the other rows, taken by chance, with the same share of every label.
    """

    kind: Literal["predefined"]
    column: str | None = None
    holdout: tuple[Text, ...] = ()
    first: Annotated[int, Field(ge=1)] | None = None
    validation: Fraction = 0.2
    seed: int = 0

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.column is None) == (self.first is None):
            raise ValueError(
                "either column and holdout (its values that are judged on) or first must be given, not both"
            )
        if (self.column is not None) != bool(self.holdout):
            raise ValueError(
                "holdout lists the values of column that are judged on; it goes with column, and only with it"
            )
        return self


Split = TemporalSplit | StratifiedSplit | PredefinedSplit | GroupedSplit
SPLITS: dict[str, type[Model]] = {
    "temporal": TemporalSplit,
    "stratified": StratifiedSplit,
    "predefined": PredefinedSplit,
    "grouped": GroupedSplit,
}
