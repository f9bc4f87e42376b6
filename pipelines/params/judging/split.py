"""`split` of `params.yaml`: the rows for hold-out and validation."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pipelines.params.types import Model, Period, Seed, Text

Fraction = Annotated[float, Field(gt=0, lt=1)]


class TemporalSplit(Model):
    """A split by time: the newest rows are held out, those before them validate."""

    kind: Literal["temporal"] = Field(description="By time. Needs `data.time`.")
    holdout: Period = Field(default="1mo", description="Newest rows, on which the model is judged: `1mo`, `14d`, …")
    validation: Period = Field(default="1mo", description="Rows before the hold-out, which stop the boosting.")
    gap: Period | None = Field(
        default=None, description="Period before the hold-out, and before the validation, whose rows are not used."
    )


class _Shares(Model):
    """A split by shares of all rows."""

    holdout: Fraction = Field(default=0.2, description="Share of all rows on which the model is judged.")
    validation: Fraction = Field(default=0.2, description="Share of all rows that stop the boosting.")
    seed: Seed = Field(default=0, description="Another seed gives other parts.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.holdout + self.validation >= 1:
            raise ValueError(f"holdout {self.holdout:g} and validation {self.validation:g} leave nothing to train on")
        return self


class StratifiedSplit(_Shares):
    """A random split with the same share of every label in every part."""

    kind: Literal["stratified"] = Field(description="At random, with the same share of every label in every part.")


class GroupedSplit(_Shares):
    """A random split with all rows of one entity, a value of `column`, in the same part."""

    kind: Literal["grouped"] = Field(description="At random, with all rows of one entity in the same part.")
    column: str = Field(description="Column that names the entity, such as a customer or a machine.")


class PredefinedSplit(Model):
    """A split by the table: the rows whose `column` has a value of `holdout`, or all rows after the `first` ones, are held out.

    `validation` is a random share of the other rows, with the same share of every label.
    """

    kind: Literal["predefined"] = Field(description="By a column of the table, or by its order.")
    column: str | None = Field(default=None, description="Column whose values select the rows to hold out.")
    holdout: tuple[Text, ...] = Field(default=(), description="With `column`: its values that are held out.")
    first: Annotated[int, Field(ge=1)] | None = Field(
        default=None,
        description="In place of `column`: number of rows for training; all later ones are held out. The order is that of the files, "
        "so `data.key` must be `[]`.",
    )
    validation: Fraction = Field(default=0.2, description="Random share of the other rows, which stop the boosting.")
    seed: Seed = Field(default=0, description="Another seed gives another validation part.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.column is None) == (self.first is None):
            raise ValueError("give either column and holdout (its values that are held out), or first, and not both")
        if (self.column is not None) != bool(self.holdout):
            raise ValueError("holdout lists the values of column that are held out, so give both or neither")
        return self


Split = TemporalSplit | StratifiedSplit | PredefinedSplit | GroupedSplit
SPLITS: dict[str, type[Model]] = {
    "temporal": TemporalSplit,
    "stratified": StratifiedSplit,
    "predefined": PredefinedSplit,
    "grouped": GroupedSplit,
}
