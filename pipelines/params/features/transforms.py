"""The models of the transforms, and the checks of a table's features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, model_validator

from contract.model.transforms import TRANSFORMS, kinds_of
from pipelines.params.column import Column, require_columns
from pipelines.params.features.base import FeatureModel
from pipelines.params.features.history import HistoryFeature
from pipelines.params.types import Part

# Fewest rows of a value in the bundle, since a rarer value could identify a person.
# Source: the threshold rule of statistical disclosure control; 10 as in Handbook on Statistical Disclosure Control for Outputs, 2019.
Count = Annotated[int, Field(ge=1)]
MINIMUM_COUNT = 10
Year = Annotated[int, Field(ge=1900, le=2200)]


Own = Annotated[str | None, Field(description="Column that it reads. Null: the column of the feature's own name.")]
Input = Annotated[str, Field(description="Column that it reads.")]


class ValueFeature(FeatureModel):
    """The value of a number or boolean, or log(1 + x) of a number."""

    transform: Literal["value", "log"] = Field(description="`value`: the value; `log`: log(1 + x).")
    input: Own = None


class CategoryFeature(FeatureModel):
    """A code for each category; those rarer than `minimum_count` in training share the code of unknown ones."""

    transform: Literal["category"] = Field(description="A code for each category.")
    input: Own = None
    minimum_count: Count = Field(
        default=MINIMUM_COUNT,
        description="Fewest training rows of a category; a rarer one shares the code of unknown ones. Lower it only if few rows identify "
        "nobody.",
    )
    maximum_categories: int = Field(default=1_000, ge=1, le=10_000, description="Largest number of categories.")

    @property
    def is_fitted(self) -> bool:
        return True


class CalendarFeature(FeatureModel):
    """A part of a timestamp, as a number."""

    transform: Literal["calendar"] = Field(description="A part of the timestamp.")
    input: Input
    part: Part = Field(description="Which part.")


class CyclicFeature(FeatureModel):
    """A part of a timestamp on the unit circle, so that its last value lies beside its first."""

    transform: Literal["cyclic"] = Field(description="Sine or cosine of a part of the timestamp.")
    input: Input
    part: Part = Field(description="Which part.")
    function: Literal["sin", "cos"] = Field(description="Sine or cosine.")


class PairFeature(FeatureModel):
    """Arithmetic of two numbers."""

    transform: Literal["ratio", "difference", "product"] = Field(
        description="`ratio`: a / b; `difference`: a − b; `product`: a · b."
    )
    inputs: tuple[str, str] = Field(description="The two columns, `[a, b]`.")


class LookupFeature(FeatureModel):
    """A small table from the training rows: by key, its share of the rows or the mean of a number.

    Keys with fewer rows than `minimum_count` count as unknown: the mean of one row is that row's number.
    """

    transform: Literal["lookup"] = Field(description="A statistic of the training rows with the same category.")
    input: Input
    statistic: Literal["share", "mean"] = Field(description="Share of the rows, or mean of the number `of`.")
    of: str | None = Field(default=None, description="Of `mean`: the number that is averaged.")
    minimum_count: Count = Field(
        default=MINIMUM_COUNT,
        description="Fewest training rows of a category; the statistic of a rarer one is missing.",
    )
    maximum_keys: int = Field(default=1_000, ge=1, le=10_000, description="Largest number of categories.")

    @property
    def is_fitted(self) -> bool:
        return True

    @property
    def also_fitted(self) -> tuple[str, ...]:
        return (self.of,) if self.of else ()

    def check(self, name: str, columns: Mapping[str, Column]) -> None:
        if (self.statistic == "mean") != (self.of is not None):
            raise ValueError(f"features.{name}: statistic mean needs `of`, and the others have none")
        if self.of is not None:
            require_columns(f"features.{name}.of", (self.of,), columns)
            if not columns[self.of].is_number:
                raise ValueError(f"features.{name}.of: {self.of!r} is not of kind number")
            if columns[self.of].pii:
                raise ValueError(
                    f"features.{name}.of: {self.of!r} is marked pii, and its means may not enter the bundle"
                )


class ElapsedFeature(FeatureModel):
    """The time between two timestamps; local times are subtracted as written, regardless of clock changes."""

    transform: Literal["elapsed"] = Field(description="End − start; negative where the end is earlier.")
    inputs: tuple[str, str] = Field(description="The two columns, `[start, end]`; both with an offset, or neither.")
    unit: Literal["s", "min", "h", "d"] = Field(description="Unit of the result.")


class PlainFeature(FeatureModel):
    """A property of one column, without settings."""

    transform: Literal["is_missing", "text_length"] = Field(
        description="`is_missing`: 1 where an optional column is missing, else 0; `text_length`: characters of a category."
    )
    input: Input

    def check(self, name: str, columns: Mapping[str, Column]) -> None:
        if self.transform == "is_missing" and columns[self.input].required:
            raise ValueError(
                f"features.{name}: {self.input!r} is required, so it is never missing; remove the feature, or declare required: false"
            )


class BinnedFeature(FeatureModel):
    """Bins between declared `edges`, or `quantiles` bins of about equally many training rows."""

    transform: Literal["binned"] = Field(description="Number of the bin, from 0.")
    input: Input
    edges: tuple[float, ...] | None = Field(
        default=None, description="Upper ends of the bins; each belongs to its bin."
    )
    quantiles: Annotated[int, Field(ge=2, le=100)] | None = Field(
        default=None,
        description="Number of bins with about equally many training rows each, at least 10. No edge is a value of a row.",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.edges is None) == (self.quantiles is None):
            raise ValueError("give binned either `edges` or `quantiles`, and not both")
        if self.edges is not None and (not self.edges or list(self.edges) != sorted(set(self.edges))):
            raise ValueError("the edges must ascend, and there must be at least one")
        return self

    @property
    def is_fitted(self) -> bool:
        return self.edges is None

    def check(self, name: str, columns: Mapping[str, Column]) -> None:
        if columns[self.input].pii and self.is_fitted:
            raise ValueError(
                f"features.{name}: {self.input!r} is marked pii, and its quantiles may not enter the bundle; declare `edges`"
            )


class HolidayFeature(FeatureModel):
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
            raise ValueError("years must be the first and the last one, in this order")
        return self

    @property
    def is_fitted(self) -> bool:
        return self.years is None

    def check(self, name: str, columns: Mapping[str, Column]) -> None:
        if columns[self.input].pii and self.is_fitted:
            raise ValueError(
                f"features.{name}: {self.input!r} is marked pii, and its years may not enter the bundle; declare `years`"
            )


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
    | HolidayFeature
    | HistoryFeature,
    Field(discriminator="transform"),
]


# The model of each transform.
FEATURES: dict[str, type[FeatureModel]] = {
    transform: model
    for model in get_args(get_args(FeatureParams)[0])
    for transform in get_args(model.model_fields["transform"].annotation)
}


def inputs_of(name: str, feature: Any) -> tuple[str, ...]:
    """Return the fields of a request that a feature reads, by default the one of its own name; all but histories are columns."""
    inputs: tuple[str, ...] = getattr(feature, "inputs", None) or (feature.input or name,)
    return inputs


def histories(features: Mapping[str, Any]) -> dict[str, HistoryFeature]:
    """Return the features that are computed from other rows."""
    return {name: feature for name, feature in features.items() if isinstance(feature, HistoryFeature)}


def columns_read(features: Mapping[str, Any]) -> set[str]:
    """Return the columns of the table that features read; of histories not the values, which may be the target."""
    return {
        column
        for name, feature in features.items()
        for column in (
            (*feature.by, feature.known_at) if isinstance(feature, HistoryFeature) else inputs_of(name, feature)
        )
    }


def check_features(features: Mapping[str, Any], columns: Mapping[str, Column]) -> None:
    """Raise ValueError if a feature reads a missing or unsuitable column; histories have a check of their own."""
    for name, feature in features.items():
        if isinstance(feature, HistoryFeature):
            continue
        for column in inputs_of(name, feature):
            require_columns(f"features.{name}", (column,), columns)
            _check_column(name, feature.transform, columns[column], column)
        _refuse_later(name, (*inputs_of(name, feature), *feature.also_fitted), columns)
        feature.check(name, columns)


def _refuse_later(name: str, read: Sequence[str], columns: Mapping[str, Column]) -> None:
    for column in read:
        if column in columns and columns[column].is_later:
            raise ValueError(
                f"features.{name}: {column!r} is known: later, after the prediction, so this would be a leak; only the transform "
                "history may read it"
            )


def _check_column(name: str, transform: str, column: Column, column_name: str) -> None:
    allowed = kinds_of(transform)
    if column.kind not in allowed:
        raise ValueError(
            f"features.{name}: {transform} takes columns of kind {' or '.join(allowed)}, "
            f"but {column_name!r} is of kind {column.kind}"
        )
    if column.pii and TRANSFORMS[transform].listed:
        raise ValueError(f"features.{name}: {column_name!r} is marked pii, and its values may not enter the bundle")
