"""`data.columns` and `features` of `params.yaml`: what a column is, and what a feature makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from contract.timestamps import UNITS
from pipelines.params_types import Model, Part, Share, Text


class Column(Model):
    """One column of the table; see `docs/own-table.md`."""

    kind: Literal["number", "boolean", "category", "timestamp", "identifier"]
    required: bool = True
    unit: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    values: tuple[str, ...] | None = None
    missing: Share | None = None
    missing_values: tuple[Text, ...] = ()
    tolerance: Share = 0.0
    may_be_constant: bool = False
    may_drift: bool = False
    pii: bool = False
    description: str | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.pii and self.values:
            raise ValueError(
                "values of a column that is marked pii would enter the bundle with params.yaml; leave them out"
            )
        if self.kind == "timestamp" and self.unit not in (None, *UNITS):
            raise ValueError(
                f"unit {self.unit!r} of a timestamp is unknown; one that is written as a number has {', '.join(UNITS)}"
            )
        return self

    @property
    def missing_budget(self) -> float:
        """Largest share of nulls in a month: as declared, else none for a required column and any for another."""
        if self.missing is not None:
            return self.missing
        return 0.0 if self.required else 1.0


# Rows that a value has at least, or it does not enter the bundle: few rows can be told apart by it.
# Source: the threshold rule of statistical disclosure control; 10 as in Handbook on Statistical Disclosure Control for Outputs, 2019.
Count = Annotated[int, Field(ge=1)]
MINIMUM_COUNT = 10


class ValueFeature(Model):
    transform: Literal["value", "log"]
    input: str | None = None


class CategoryFeature(Model):
    """Categories seen less than `minimum_count` times in training share the code of the unknown ones."""

    transform: Literal["category"]
    input: str | None = None
    minimum_count: Count = MINIMUM_COUNT
    maximum_categories: Annotated[int, Field(ge=1, le=10_000)] = 1_000


class CalendarFeature(Model):
    transform: Literal["calendar"]
    input: str
    part: Part


class CyclicFeature(Model):
    transform: Literal["cyclic"]
    input: str
    part: Part
    function: Literal["sin", "cos"]


class RatioFeature(Model):
    transform: Literal["ratio"]
    inputs: tuple[str, str]


class LookupFeature(Model):
    """A small table made from the training rows: by key, its share of the rows or the mean of a number.

    Keys with fewer rows than `minimum_count` are unknown ones: the mean of one row is the row's number.
    """

    transform: Literal["lookup"]
    input: str
    statistic: Literal["share", "mean"]
    of: str | None = None
    minimum_count: Count = MINIMUM_COUNT
    maximum_keys: Annotated[int, Field(ge=1, le=10_000)] = 1_000


FeatureParams = Annotated[
    ValueFeature | CategoryFeature | CalendarFeature | CyclicFeature | RatioFeature | LookupFeature,
    Field(discriminator="transform"),
]


# Kinds of column that each transform reads.
KINDS_OF = {
    "value": ("number", "boolean"),
    "log": ("number",),
    "ratio": ("number",),
    "category": ("category",),
    "lookup": ("category",),
    "calendar": ("timestamp",),
    "cyclic": ("timestamp",),
}


def inputs_of(name: str, feature: Any) -> tuple[str, ...]:
    """The columns that a feature reads; a feature that names none reads the column of its own name."""
    if isinstance(feature, RatioFeature):
        return feature.inputs
    return (feature.input or name,)


def check_features(features: Mapping[str, Any], columns: Mapping[str, Column]) -> None:
    """Raises ValueError where a feature reads a column that is not there, or one of a kind that it cannot read."""
    for name, feature in features.items():
        for column in inputs_of(name, feature):
            require_columns(f"features.{name}", (column,), columns)
            _check_feature_kind(name, feature.transform, columns[column], column)
        if isinstance(feature, LookupFeature):
            _check_lookup(name, feature, columns)


def require_columns(key: str, names: tuple[str, ...], columns: Mapping[str, Column]) -> None:
    for name in names:
        if name not in columns:
            raise ValueError(f"{key} names the column {name!r}, which data.columns does not have: {', '.join(columns)}")


def _check_feature_kind(name: str, transform: str, column: Column, column_name: str) -> None:
    allowed = KINDS_OF[transform]
    if column.kind not in allowed:
        raise ValueError(
            f"features.{name}: {transform} takes columns of kind {' or '.join(allowed)}, "
            f"but {column_name!r} is of kind {column.kind}"
        )
    if column.pii and transform in ("category", "lookup"):
        raise ValueError(f"features.{name}: {column_name!r} is marked pii, and its values may not enter the bundle")


def _check_lookup(name: str, feature: LookupFeature, columns: Mapping[str, Column]) -> None:
    if (feature.statistic == "mean") != (feature.of is not None):
        raise ValueError(f"features.{name}: `of` goes with statistic mean, and only with it")
    if feature.of is not None:
        require_columns(f"features.{name}.of", (feature.of,), columns)
        if columns[feature.of].kind != "number":
            raise ValueError(f"features.{name}.of: {feature.of!r} is not of kind number")
        if columns[feature.of].pii:
            raise ValueError(
                f"features.{name}.of: {feature.of!r} is marked pii, and its means may not enter the bundle"
            )
