"""The feature schema, fitted on the rows before the hold-out: pure functions from table and declarations to the schema."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
import polars as pl

from contract.errors import ConfigurationError
from contract.schema.schema import Feature, FeatureSchema
from pipelines.columns.declared import fields_of, target_of
from pipelines.data import cuts
from pipelines.params.features.base import FeatureModel
from pipelines.params.features.history import HistoryFeature
from pipelines.params.features.transforms import (
    MINIMUM_COUNT,
    BinnedFeature,
    CategoryFeature,
    FeatureParams,
    HolidayFeature,
    LookupFeature,
    inputs_of,
)
from pipelines.params.params import Data, TargetParams
from pipelines.stages.features import calendars

_ROWS, _VALUE = "__rows__", "__value__"  # no column of a table has these names
# Distinct values per row from which a column is an identifier: a value has fewer than two rows on average.
_IDENTIFYING = 0.5


def fit_schema(
    name: str,
    data: Data,
    target: TargetParams,
    features: Mapping[str, FeatureParams],
    training: pl.DataFrame,
    in_utc: Collection[str] = (),
) -> FeatureSchema:
    """Return the schema of the declared features, its categories and lookup tables taken from `training` alone.

    Args:
        in_utc: timestamps that had an offset, and are in UTC now.
    """
    _check_zones(features, data, in_utc)
    fitted = tuple(_feature(each, feature, training) for each, feature in features.items())
    used = {column for feature in fitted for column in feature.inputs}
    return FeatureSchema(
        name=name,
        task=target.task,
        target=target_of(target),
        fields=tuple(field for name, field in fields_of(data, target, features, in_utc).items() if name in used),
        features=fitted,
    )


def fitted_columns(target: str, features: Mapping[str, FeatureParams]) -> list[str]:
    """Return the columns whose values `fit_schema` reads: those of categories, lookups, quantiles, and years."""
    needed = [target]
    for name, feature in features.items():
        if feature.is_fitted:
            needed += (*inputs_of(name, feature), *feature.also_fitted)
    return list(dict.fromkeys(needed))


def _check_zones(features: Mapping[str, Any], data: Data, in_utc: Collection[str]) -> None:
    """Raise ConfigurationError for a feature that combines a local timestamp with one in UTC."""
    for name, feature in features.items():
        is_history = isinstance(feature, HistoryFeature)
        combined = (data.clock, feature.known_at) if is_history else inputs_of(name, feature)
        local = [column for column in combined if column not in in_utc]
        if 0 < len(local) < len(combined):
            instant = ", or declare a column that is utc_of it" if local[0] == data.clock and is_history else ""
            raise ConfigurationError(
                f"features.{name}: {local[0]!r} has local times, the other column has offsets; the time between them is unknown. "
                f"Give both an offset at the source, or neither{instant}"
            )


def _feature(name: str, feature: Any, training: pl.DataFrame) -> Feature:
    fit = FITS.get(type(feature))
    options = fit(training, feature, name) if fit else feature.declared()
    return Feature(name, feature.encoded_as, inputs_of(name, feature), options)


def categories(column: pl.Series, feature: CategoryFeature, name: str) -> list[str]:
    """Return the categories seen at least `minimum_count` times, in alphabetical order.

    Raises:
        ConfigurationError: the column is an identifier, or has more than `maximum_categories`.
    """
    counts = column.drop_nulls().value_counts(name=_ROWS)
    known = _often(counts, column.name, feature.minimum_count, name)[column.name].sort().to_list()
    if len(known) > feature.maximum_categories:
        raise ConfigurationError(
            f"features.{name}: {len(known)} categories, more than maximum_categories ({feature.maximum_categories}); "
            "drop the feature, raise minimum_count, or raise the limit"
        )
    return known


def edges(training: pl.DataFrame, feature: BinnedFeature, name: str) -> list[float]:
    """Return the declared edges, or edges between training values that give bins of about equal count.

    No edge is a value of a row, and no bin has fewer rows than `MINIMUM_COUNT`.

    Raises:
        ConfigurationError: there are too few rows, or too few different values, for two bins.
    """
    if feature.quantiles is None:
        return list(feature.edges or ())
    found = cuts.quantile_edges(
        training[feature.input].cast(pl.Float64).to_numpy().astype(np.float32), feature.quantiles, MINIMUM_COUNT
    )
    if not found:
        raise ConfigurationError(
            f"features.{name}: no two bins of {feature.input!r} have {MINIMUM_COUNT} training rows each; declare `edges`, or drop "
            "the feature"
        )
    return found


def lookup_table(training: pl.DataFrame, feature: LookupFeature, name: str) -> dict[str, float]:
    """Return by key of at least `minimum_count` rows its share of all rows, or the mean of the column `of`, nulls left out.

    Raises:
        ConfigurationError: the key is an identifier, or has more than `maximum_keys` values.
    """
    key = feature.input or name
    value = pl.col(feature.of).mean() if feature.of else pl.len() / training.height
    complete = training.drop_nulls([key, feature.of] if feature.of else key)
    counts = complete.group_by(key).agg(value.alias(_VALUE), pl.len().alias(_ROWS))
    table = _often(counts, key, feature.minimum_count, name).sort(key)
    if table.height > feature.maximum_keys:
        raise ConfigurationError(
            f"features.{name}: {table.height} keys, more than maximum_keys ({feature.maximum_keys}); "
            "drop the feature, raise minimum_count, or raise the limit"
        )
    return dict(zip(table[key].to_list(), table[_VALUE].to_list(), strict=True))


def _often(counts: pl.DataFrame, column: str, minimum_count: int, name: str) -> pl.DataFrame:
    """Return the values with at least `minimum_count` rows; rare ones may identify a person, and never enter the bundle.

    Raises:
        ConfigurationError: the column is an identifier, or no value has so many rows.
    """
    distinct, rows = counts.height, int(counts[_ROWS].sum())
    if distinct > _IDENTIFYING * rows:
        raise ConfigurationError(
            f"features.{name}: {column!r} has {distinct} different values in {rows} training rows, {distinct / rows:.0%}; above "
            f"{_IDENTIFYING:.0%} it is an identifier, not a category. Drop the feature and declare the column as `kind: identifier`, "
            "or make a coarser column of it at the source"
        )
    often = counts.filter(pl.col(_ROWS) >= minimum_count)
    if distinct and often.is_empty():
        raise ConfigurationError(
            f"features.{name}: none of the {distinct} values of {column!r} has minimum_count ({minimum_count}) training rows; "
            "drop the feature, make a coarser column of it at the source, or lower minimum_count if no value identifies a person"
        )
    return often


# Fitted options by kind of feature; all other features have their declared options.
FITS: dict[type[FeatureModel], Callable[[pl.DataFrame, Any, str], Mapping[str, Any]]] = {
    CategoryFeature: lambda training, feature, name: {
        "categories": categories(training[feature.input or name], feature, name)
    },
    BinnedFeature: lambda training, feature, name: {"edges": edges(training, feature, name)},
    HolidayFeature: calendars.options,
    LookupFeature: lambda training, feature, name: {"table": lookup_table(training, feature, name), "default": None},
}
