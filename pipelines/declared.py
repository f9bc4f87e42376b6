"""Columns and target as `params.yaml` declares them, in the terms of the feature schema; pure functions."""

from __future__ import annotations

from contract.schema import Field, Target
from pipelines.params import Column, TargetParams


def field_of(name: str, column: Column) -> Field:
    """Return the field of a request that carries this column."""
    return Field(
        name=name,
        kind=column.kind,
        required=column.required,
        unit=column.unit,
        minimum=column.minimum,
        maximum=column.maximum,
        description=column.description,
        pii=column.pii,
    )


def target_of(target: TargetParams) -> Target:
    """Return the schema's target; only a binary one has a threshold."""
    threshold = target.threshold if target.task == "binary" else None
    return Target(target.column, target.labels, threshold, target.unit)
