"""`data.columns` and `features` of `params.yaml`: what a column is, and what a feature makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, FiniteFloat, model_validator

from contract.timestamps import UNITS
from pipelines.params_types import Model, Part, Share, Text


class Column(Model):
    """One column of the table; see `docs/tutorial/own-table.md`."""

    kind: Literal["number", "boolean", "category", "timestamp", "identifier"]
    required: bool = True
    unit: str | None = None
    minimum: float | None = None
    maximum: float | None = None
    values: tuple[Text, ...] | None = None
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
Year = Annotated[int, Field(ge=1900, le=2200)]


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


class PairFeature(Model):
    transform: Literal["ratio", "difference", "product"]
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


class ElapsedFeature(Model):
    transform: Literal["elapsed"]
    inputs: tuple[str, str]
    unit: Literal["s", "min", "h", "d"]


class PlainFeature(Model):
    """What is read of one column, and has nothing to set."""

    transform: Literal["is_missing", "text_length"]
    input: str


class BinnedFeature(Model):
    """Bins between declared `edges`, or `quantiles` bins of about equally many training rows."""

    transform: Literal["binned"]
    input: str
    edges: tuple[FiniteFloat, ...] | None = None
    quantiles: Annotated[int, Field(ge=2, le=100)] | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.edges is None) == (self.quantiles is None):
            raise ValueError("binned takes either `edges` or `quantiles`")
        if self.edges is not None and (not self.edges or list(self.edges) != sorted(set(self.edges))):
            raise ValueError("the edges must ascend, and there must be one at least")
        return self


class HolidayFeature(Model):
    """Holidays of a country, or of a part of it, in `years`: by default those of the training rows and the five after."""

    transform: Literal["holiday"]
    input: str
    country: Annotated[str, Field(pattern="^[A-Z]{2}$")]
    subdivision: str | None = None
    years: tuple[Year, Year] | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.years and self.years[0] > self.years[1]:
            raise ValueError("years are the first and the last one")
        return self


FeatureParams = Annotated[
    ValueFeature
    | CategoryFeature
    | CalendarFeature
    | CyclicFeature
    | PairFeature
    | LookupFeature
    | ElapsedFeature
    | PlainFeature
    | BinnedFeature
    | HolidayFeature,
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
    "difference": ("number",),
    "product": ("number",),
    "elapsed": ("timestamp",),
    "is_missing": ("number", "boolean", "category", "timestamp"),
    "text_length": ("category",),
    "binned": ("number",),
    "holiday": ("timestamp",),
}


def inputs_of(name: str, feature: Any) -> tuple[str, ...]:
    """The columns that a feature reads; a feature that names none reads the column of its own name."""
    if isinstance(feature, (PairFeature, ElapsedFeature)):
        return feature.inputs
    return (feature.input or name,)


def check_features(features: Mapping[str, Any], columns: Mapping[str, Column]) -> None:
    """Raises ValueError where a feature reads a column that is not there, or one of a kind that it cannot read."""
    for name, feature in features.items():
        for column in inputs_of(name, feature):
            require_columns(f"features.{name}", (column,), columns)
            _check_feature_kind(name, feature.transform, columns[column], column)
            _check_fitted(name, feature, columns[column], column)
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


def _check_fitted(name: str, feature: Any, column: Column, column_name: str) -> None:
    if feature.transform == "is_missing" and column.required:
        raise ValueError(
            f"features.{name}: {column_name!r} is required, so it is never missing; drop the feature, or declare required: false"
        )
    if column.pii and getattr(feature, "quantiles", None) is not None:
        raise ValueError(
            f"features.{name}: {column_name!r} is marked pii, and its quantiles may not enter the bundle; declare `edges`"
        )
    if column.pii and isinstance(feature, HolidayFeature) and feature.years is None:
        raise ValueError(
            f"features.{name}: {column_name!r} is marked pii, and its years may not enter the bundle; declare `years`"
        )


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
