"""Fields and target of the feature schema, from their declaration in `params.yaml`; pure functions."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

from contract.schema.schema import FeatureSchema, Field, Target
from contract.schema.tasks import TASKS
from contract.schema.timestamps import UTC_ZONE
from pipelines.params.features.history import STATISTICS, HistoryFeature
from pipelines.params.features.transforms import FeatureParams, histories
from pipelines.params.params import Data, TargetParams


def field_of(name: str, data: Data, zone: str | None = None) -> Field:
    """Return the field of a request that carries this column.

    Args:
        zone: of a timestamp: `UTC` if the table's values have offsets.
    """
    column, written = data.columns[name], data.source.spelling(name)
    return Field(
        name=name,
        kind=column.kind,
        required=column.required,
        unit=column.unit,
        minimum=column.minimum,
        maximum=column.maximum,
        description=column.description,
        pii=column.pii,
        zone=zone if column.kind == "timestamp" else None,
        missing=tuple(dict.fromkeys((*written.missing, *column.missing_values))),
        decimal=written.decimal,
        source=written.source,
        format=written.format,
    )


def history_field(name: str, feature: HistoryFeature, data: Data, target: TargetParams) -> Field:
    """Return the field of a request that carries the history `name`, described so that a caller can compute it."""
    statistic, columns = STATISTICS[feature.statistic], data.columns
    low, high, unit = 0.0 if not statistic.of_value else None, None, statistic.unit
    if feature.value is not None:
        low, high, unit = _of_values(feature.value, data, target)
        # Rounding may take a mean of other numbers beyond their bounds, by a bit.
        if not statistic.is_within and not (feature.statistic == "mean" and (low, high) == (0.0, 1.0)):
            low, high = None, None
    return Field(
        name=name,
        kind="number",
        required=False,
        unit=unit,
        minimum=low,
        maximum=high,
        description=_described(feature, data),
        pii=any(columns[column].pii for column in feature.columns() if column in columns),
    )


def _of_values(name: str, data: Data, target: TargetParams) -> tuple[float | None, float | None, str | None]:
    """Return the bounds and the unit of a column, or of the target."""
    if name == target.column:
        return (None, None, target.unit) if TASKS[target.task].is_number else (0.0, 1.0, None)
    column = data.columns[name]
    return (column.minimum, column.maximum, column.unit) if column.is_number else (0.0, 1.0, None)


def _described(feature: HistoryFeature, data: Data) -> str:
    what = f"{feature.statistic} of {feature.value}" if feature.value else feature.statistic
    by = f" by {', '.join(feature.by)}" if feature.by else ""
    moment = f"{feature.horizon} before {data.clock}"
    if feature.statistic == "pending":
        return f"history: number of rows{by} with {data.clock} in the {feature.window} up to {moment}, and no {feature.known_at} by then"
    return f"history: {what}{by}, of the rows with {feature.known_at} in the {feature.window} up to {moment}"


def fields_of(
    data: Data, target: TargetParams, features: Mapping[str, FeatureParams], in_utc: Collection[str] = ()
) -> dict[str, Field]:
    """Return the fields that a request could carry: the columns known before the prediction, and the histories.

    Args:
        in_utc: timestamps that have an offset in the table.
    """
    columns = {
        name: field_of(name, data, UTC_ZONE if name in in_utc else None)
        for name, column in data.columns.items()
        if not column.is_later
    }
    return columns | {name: history_field(name, feature, data, target) for name, feature in histories(features).items()}


def outcome_of(target: TargetParams, data: Data) -> Field:
    """Return the outcome's column as an optional field, which no request carries."""
    kind = "number" if TASKS[target.task].is_number else "category"
    written = data.source.spelling(target.column)
    return Field(target.column, kind, required=False, missing=written.missing, decimal=written.decimal)


def served(schema: FeatureSchema, deprecated: Mapping[str, str]) -> FeatureSchema:
    """Return the bundle's schema: the model's, with the kinds of deprecated fields."""
    return replace(schema, deprecated=tuple(Field(name, kind, required=False) for name, kind in deprecated.items()))


def target_of(target: TargetParams) -> Target:
    """Return the schema's target; only one with a positive label has a threshold."""
    threshold = target.threshold if TASKS[target.task].has_positive else None
    learned = (target.objective, target.slope, target.power, target.quantiles)
    return Target(target.column, target.labels, threshold, target.unit, *learned)
