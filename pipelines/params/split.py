"""`split` of `params.yaml`: which rows a model is judged on, and which say when to stop the boosting."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from pipelines.params.types import Model, Period, Text

Fraction = Annotated[float, Field(gt=0, lt=1)]


class TemporalSplit(Model):
    """By time: the newest rows are held out, those before them validate."""

    kind: Literal["temporal"] = Field(description="By time. Needs `data.time`.")
    holdout: Period = Field(default="1mo", description="Newest rows, on which the model is judged: `1mo`, `14d`, …")
    validation: Period = Field(default="1mo", description="Rows before the hold-out, which stop the boosting.")
    gap: Period | None = Field(
        default=None, description="Rows that lie so close before the hold-out, and before the validation, are not used."
    )


class _Shares(Model):
    """Shares of all rows."""

    holdout: Fraction = Field(default=0.2, description="Share of all rows on which the model is judged.")
    validation: Fraction = Field(default=0.2, description="Share of all rows that stop the boosting.")
    seed: int = Field(default=0, description="Another seed gives other parts.")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.holdout + self.validation >= 1:
            raise ValueError(f"holdout {self.holdout:g} and validation {self.validation:g} leave nothing to train on")
        return self


class StratifiedSplit(_Shares):
    """By chance, with the same share of every label in every part."""

    kind: Literal["stratified"] = Field(description="By chance, with the same share of every label in every part.")


class GroupedSplit(_Shares):
    """By chance, with all rows of one entity, a value of `column`, in the same part."""

    kind: Literal["grouped"] = Field(description="By chance, with all rows of one entity in the same part.")
    column: str = Field(description="Column that names the entity, such as a customer or a machine.")


class PredefinedSplit(Model):
    """By the table itself: the rows whose `column` has a value of `holdout`, or all rows after the `first` ones.

    `validation` is a share of the other rows, taken by chance, with the same share of every label.
    """

    kind: Literal["predefined"] = Field(description="By a column of the table, or by its order.")
    column: str | None = Field(default=None, description="Column whose values say which rows are held out.")
    holdout: tuple[Text, ...] = Field(default=(), description="With `column`: its values that are held out.")
    first: Annotated[int, Field(ge=1)] | None = Field(
        default=None,
        description="In place of `column`: so many rows are for training, all later ones are held out. The order is that of the files, "
        "so `data.key` must be `[]`.",
    )
    validation: Fraction = Field(default=0.2, description="Share of the other rows, by chance, that stop the boosting.")
    seed: int = Field(default=0, description="Another seed gives another validation part.")

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
