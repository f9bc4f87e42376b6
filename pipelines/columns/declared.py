"""Fields and target of the feature schema, from their declaration in `params.yaml`; pure functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from contract.schema.schema import FeatureSchema, Field, Target
from contract.schema.tasks import TASKS
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
    return Target(target.column, target.labels, threshold, target.unit)
