"""Obstacles to judging the live model on a table as `params.yaml` declares it; pure functions."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from contract.errors import Problem
from contract.model.compatibility import meant_otherwise, misread
from contract.schema.schema import FeatureSchema
from pipelines.columns.declared import fields_of, target_of
from pipelines.params.features.transforms import FeatureParams, histories
from pipelines.params.params import Data, TargetParams

# How a source writes a column changes nothing in what a partition holds.
_OF_THE_SOURCE = frozenset({"decimal", "source", "format"})


def obstacles(
    live: FeatureSchema,
    data: Data,
    target: TargetParams,
    features: Mapping[str, FeatureParams],
    in_utc: Collection[str] = (),
) -> list[Problem]:
    """Return the reasons not to judge the live model on this table; empty if it knows all values and outcomes.

    A value that it refuses would reach it as missing, and one of another unit would be misread: a comparison would handicap it.

    Args:
        in_utc: timestamps that have an offset in the table.
    """
    if live.task != target.task:
        return [Problem(None, None, f"its task is {live.task}, that of params.yaml {target.task}")]
    problems = [
        Problem(None, None, f"its target has the {what} {theirs!r}, that of params.yaml {ours!r}")
        for what, (ours, theirs) in meant_otherwise(target_of(target), live.target).items()
    ]
    declared, computed = fields_of(data, target, features, in_utc), histories(features)
    for field in live.fields:
        if field.name not in declared:
            problems.append(Problem(None, field.name, "it reads this field, which params.yaml no longer has"))
            continue
        ours = declared[field.name]
        changes = misread(ours, field)
        if field.name in computed and ours.description != field.description:
            changes["description"] = (ours.description, field.description)  # which defines a history
        where = f"features.{field.name}" if field.name in computed else "data.columns"
        problems += [
            Problem(None, field.name, f"its {what} is {theirs!r}, that of {where} {ours!r}")
            for what, (ours, theirs) in changes.items()
            if what not in _OF_THE_SOURCE
        ]
    return problems
