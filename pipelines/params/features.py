"""`data.columns` and `features` of `params.yaml`: what a column is, and what a feature makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, FiniteFloat, model_validator

from contract.schema.timestamps import UNITS
from pipelines.params.types import Model, Part, Share, Text


class Column(Model):
    """One column of the table."""

    kind: Literal["number", "boolean", "category", "timestamp", "identifier"] = Field(
        description="`number` (that a float32 holds), `boolean` (true/false, yes/no, 1/0), `category`, `timestamp` (ISO 8601, or by its "
        "`unit`), or `identifier` (never a feature)."
    )
    required: bool = Field(default=True, description="Whether a request must carry it.")
    unit: str | None = Field(
        default=None,
        description="Unit, for people. Of a timestamp or a duration that is written as a number, how it is read.",
    )
    minimum: float | None = Field(
        default=None, description="Smallest value of a number. A request below it is refused."
    )
    maximum: float | None = Field(default=None, description="Largest value of a number. A request above it is refused.")
    values: tuple[Text, ...] | None = Field(default=None, description="Allowed values of a category. Null: any.")
    missing: Share | None = Field(
        default=None, description="Largest share of missing values in a month. Null: 0 if `required`, else 1."
    )
    missing_values: tuple[Text, ...] = Field(
        default=(),
        description='Tokens that mean a missing value in this column, such as `["-1"]`, in requests too. A number is compared by its '
        "value.",
    )
    tolerance: Share = Field(
        default=0.0, description="Largest share of a month's values that may violate this declaration."
    )
    may_be_constant: bool = Field(
        default=False,
        description="Whether all rows of one month may have the same value although other months vary, such as a season.",
    )
    may_drift: bool = Field(
        default=False,
        description="Whether a month may be distributed unlike every month before it, such as a year or a price index.",
    )
    pii: bool = Field(
        default=False,
        description="Whether its values are personal. They may not enter the bundle, so features that would carry them are refused, and "
        "features made from it are neither counted nor logged by a server.",
    )
    description: str | None = Field(default=None, description="Text for people, on the OpenAPI page.")

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


Own = Annotated[str | None, Field(description="Column that it reads. Null: the column of the feature's own name.")]
Input = Annotated[str, Field(description="Column that it reads.")]


class ValueFeature(Model):
    """The value of a number or boolean, or log(1 + x) of a number."""

    transform: Literal["value", "log"] = Field(description="`value`: the value; `log`: log(1 + x).")
    input: Own = None


class CategoryFeature(Model):
    """Categories seen less than `minimum_count` times in training share the code of the unknown ones."""

    transform: Literal["category"] = Field(description="A code for each category.")
    input: Own = None
    minimum_count: Count = Field(
        default=MINIMUM_COUNT,
        description="Training rows below which a category shares the code of the unknown ones. Lower it only where few rows identify "
        "nobody.",
    )
    maximum_categories: int = Field(default=1_000, ge=1, le=10_000, description="Largest number of categories.")


class CalendarFeature(Model):
    """A part of a timestamp, as a number."""

    transform: Literal["calendar"] = Field(description="A part of the timestamp.")
    input: Input
    part: Part = Field(description="Which part.")


class CyclicFeature(Model):
    """A part of a timestamp on the unit circle, so that its last value lies beside its first."""

    transform: Literal["cyclic"] = Field(description="Sine or cosine of a part of the timestamp.")
    input: Input
    part: Part = Field(description="Which part.")
    function: Literal["sin", "cos"] = Field(description="Sine or cosine.")


class PairFeature(Model):
    """Arithmetic of two numbers."""

    transform: Literal["ratio", "difference", "product"] = Field(
        description="`ratio`: a / b; `difference`: a − b; `product`: a · b."
    )
    inputs: tuple[str, str] = Field(description="The two columns, `[a, b]`.")


class LookupFeature(Model):
    """A small table made from the training rows: by key, its share of the rows or the mean of a number.

    Keys with fewer rows than `minimum_count` are unknown ones: the mean of one row is the row's number.
    """

    transform: Literal["lookup"] = Field(description="A statistic of the training rows with the same category.")
    input: Input
    statistic: Literal["share", "mean"] = Field(description="Share of the rows, or mean of the number `of`.")
    of: str | None = Field(default=None, description="Of `mean`: the number that is averaged.")
    minimum_count: Count = Field(
        default=MINIMUM_COUNT, description="Training rows below which a category's statistic is missing."
    )
    maximum_keys: int = Field(default=1_000, ge=1, le=10_000, description="Largest number of categories.")


class ElapsedFeature(Model):
    """The time between two timestamps. Local times are subtracted as they stand, whatever the clocks did between them."""

    transform: Literal["elapsed"] = Field(description="End − start; negative where the end is earlier.")
    inputs: tuple[str, str] = Field(description="The two columns, `[start, end]`; both with an offset, or neither.")
    unit: Literal["s", "min", "h", "d"] = Field(description="Unit of the result.")


class PlainFeature(Model):
    """A property of one column, without settings."""

    transform: Literal["is_missing", "text_length"] = Field(
        description="`is_missing`: 1 where an optional column is missing, else 0; `text_length`: characters of a category."
    )
    input: Input


class BinnedFeature(Model):
    """Bins between declared `edges`, or `quantiles` bins of about equally many training rows."""

    transform: Literal["binned"] = Field(description="Number of the bin, from 0.")
    input: Input
    edges: tuple[FiniteFloat, ...] | None = Field(
        default=None, description="Upper ends of the bins; each belongs to its bin."
    )
    quantiles: Annotated[int, Field(ge=2, le=100)] | None = Field(
        default=None,
        description="Number of bins of about equally many training rows, at least 10. No edge is a value of a row.",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.edges is None) == (self.quantiles is None):
            raise ValueError("binned takes either `edges` or `quantiles`")
        if self.edges is not None and (not self.edges or list(self.edges) != sorted(set(self.edges))):
            raise ValueError("the edges must ascend, and there must be one at least")
        return self


class HolidayFeature(Model):
    """Holidays of a country, or of a part of it, in `years`: by default those of the training rows and the five after."""

    transform: Literal["holiday"] = Field(description="1 on a public holiday, else 0; missing outside of `years`.")
    input: Input
    country: str = Field(pattern="^[A-Z]{2}$", description="Country by ISO 3166, such as `US`.")
    subdivision: str | None = Field(default=None, description="Part of the country, such as `NY`.")
    years: tuple[Year, Year] | None = Field(
        default=None, description="First and last year. Null: those of the training rows and the five after."
    )

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
