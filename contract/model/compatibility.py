"""Compatibility of two schemas: whether one reads the other's values as the same; pure functions.

The fleet and the report check that the next model can answer the callers of today; the evaluation checks that the live model can score
the table.
"""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

from contract.errors import Problem
from contract.schema.schema import FeatureSchema, Field, Target

Change = tuple[Any, Any]
# Attributes without influence on values and answers.
_OF_NO_MATTER = frozenset({"name", "description", "pii"})
# Attributes of a target by which a model is trained, or its answer is read, while the quantity stays.
_OF_THE_MODEL = frozenset({"threshold", "objective", "slope", "power"})


def misread(sent: Field, read: Field) -> dict[str, Change]:
    """Return the attributes, as (sent, read), by which `read` may refuse or misread a value that `sent` allows.

    Wider bounds and an optional field are compatible; any other difference counts.
    """
    return {name: change for name, change in _differing(sent, read).items() if not _is_wider(name, *change)}


def meant_otherwise(one: Target, other: Target) -> dict[str, Change]:
    """Return the attributes that change the meaning of an answer; the order of labels does, threshold and objective do not."""
    return {name: change for name, change in _differing(one, other).items() if name not in _OF_THE_MODEL} | (
        {"name": (one.name, other.name)} if one.name != other.name else {}
    )


def breaks(live: FeatureSchema, new: FeatureSchema) -> list[Problem]:
    """Return the changes from `live` to `new` that break callers; empty if every request still works."""
    problems = [
        Problem(None, None, f"{what}: {_text(before)} before, {_text(after)} now")
        for what, before, after in (("model name", live.name, new.name), ("task", live.task, new.task))
        if before != after
    ]
    problems += [
        Problem(None, None, f"target, {what}: {_text(before)} before, {_text(after)} now")
        for what, (before, after) in meant_otherwise(live.target, new.target).items()
    ]
    known, read = ({field.name: field for field in group} for group in (live.accepted, new.fields))
    accepted = {field.name for field in new.accepted}
    for name, field in known.items():
        if name not in accepted:
            problems.append(Problem(None, name, "is removed: a request with it is refused"))
        # A deprecated field takes any value, so only those that are read are compared.
        elif name in read:
            problems += [
                Problem(None, name, f"{what}: {_text(before)} before, {_text(after)} now")
                for what, (before, after) in misread(field, read[name]).items()
            ]
    return problems + [
        Problem(None, name, "is new and required: a request without it is refused")
        for name, field in read.items()
        if name not in known and field.required
    ]


def _differing(one: Any, other: Any) -> dict[str, Change]:
    """Return the relevant attributes that differ between two objects of one dataclass."""
    pairs = {
        entry.name: (_frozen(getattr(one, entry.name)), _frozen(getattr(other, entry.name))) for entry in fields(one)
    }
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1] and name not in _OF_NO_MATTER}


def _frozen(value: Any) -> Any:
    """Return a tuple for a list, which JSON makes of a tuple."""
    return tuple(value) if isinstance(value, list) else value


def _is_wider(name: str, sent: Any, read: Any) -> bool:
    """Return whether the value `read` of an attribute allows all that `sent` allows, with the same meaning."""
    if name == "required":
        return not read
    if name == "minimum":
        return _bound(read, -math.inf) <= _bound(sent, -math.inf)
    if name == "maximum":
        return _bound(read, math.inf) >= _bound(sent, math.inf)
    # New names besides the field's own: what callers send today is still read. Changed names are a break.
    return name in ("source", "format") and not sent


def _bound(value: float | None, default: float) -> float:
    return default if value is None else value


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_text, value)) + "]"
    return "none" if value is None else str(value)[:100]
