"""Fitting the feature schema on the rows before the hold-out: pure functions from table and declarations to the schema."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from contract.errors import ConfigurationError
from contract.schema import Feature, FeatureSchema, Field, Target
from pipelines.params import (
    CalendarFeature,
    CategoryFeature,
    Column,
    CyclicFeature,
    LookupFeature,
    Params,
    TargetParams,
    inputs_of,
)


def fit_schema(params: Params, training: pl.DataFrame) -> FeatureSchema:
    """The schema of the declared features, its categories and lookup tables taken from `training` alone."""
    features = tuple(_feature(name, feature, training) for name, feature in params.features.items())
    used = dict.fromkeys(name for feature in features for name in feature.inputs)
    columns = params.data.columns
    return FeatureSchema(
        name=params.name,
        task=params.target.task,
        target=_target(params.target),
        fields=tuple(_field(name, column) for name, column in columns.items() if name in used),
        features=features,
    )


def fitted_columns(params: Params) -> list[str]:
    """The columns whose values `fit_schema` looks at: those with categories, and those of lookups."""
    needed: list[str] = [params.target.column]
    for name, feature in params.features.items():
        if isinstance(feature, (CategoryFeature, LookupFeature)):
            needed += inputs_of(name, feature)
        if isinstance(feature, LookupFeature) and feature.of:
            needed.append(feature.of)
    return list(dict.fromkeys(needed))


def _target(target: TargetParams) -> Target:
    threshold = target.threshold if target.task == "binary" else None
    return Target(target.column, target.labels, threshold, target.unit)


def _field(name: str, column: Column) -> Field:
    return Field(
        name=name,
        kind=column.kind,
        required=column.required,
        unit=column.unit,
        minimum=column.minimum,
        maximum=column.maximum,
        description=column.description,
    )


def _feature(name: str, feature: Any, training: pl.DataFrame) -> Feature:
    return Feature(name, feature.transform, inputs_of(name, feature), _options(name, feature, training))


def _options(name: str, feature: Any, training: pl.DataFrame) -> Mapping[str, Any]:
    if isinstance(feature, CategoryFeature):
        return {"categories": categories(training[feature.input or name], feature, name)}
    if isinstance(feature, CalendarFeature):
        return {"part": feature.part}
    if isinstance(feature, CyclicFeature):
        return {"part": feature.part, "function": feature.function}
    if isinstance(feature, LookupFeature):
        return {"table": lookup_table(training, feature, name), "default": None}
    return {}


def categories(column: pl.Series, feature: CategoryFeature, name: str) -> list[str]:
    """The categories seen at least `minimum_count` times, in alphabetical order.

    Raises:
        ConfigurationError: there are more than `maximum_categories`; the column identifies, it does not categorise.
    """
    counts = column.drop_nulls().value_counts(name="n")
    known = sorted(counts.filter(pl.col("n") >= feature.minimum_count)[column.name].to_list())
    if len(known) > feature.maximum_categories:
        raise ConfigurationError(
            f"features.{name}: {len(known)} categories, more than maximum_categories ({feature.maximum_categories}); "
            "drop the feature, raise minimum_count, or raise the limit"
        )
    return known


def lookup_table(training: pl.DataFrame, feature: LookupFeature, name: str) -> dict[str, float]:
    """By key: its share of the rows, or the mean of a number (keys without one are left out)."""
    key = feature.input or name
    value = pl.col(feature.of).mean() if feature.of else pl.len() / training.height
    table = training.drop_nulls(key).group_by(key).agg(value=value).drop_nulls().sort(key)
    if table.height > feature.maximum_keys:
        raise ConfigurationError(
            f"features.{name}: {table.height} keys, more than maximum_keys ({feature.maximum_keys}); "
            "drop the feature or raise the limit"
        )
    return dict(zip(table[key].to_list(), table["value"].to_list(), strict=True))
