"""Whether values that one schema allows are read as the same ones by another; pure functions.

One question, asked twice: by the fleet and the report of the requests that callers send today and the next model has to answer, and by
the evaluation of the rows of a table and the live model that it is compared with.
"""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

from contract.errors import Problem
from contract.schema.schema import FeatureSchema, Field, Target

Change = tuple[Any, Any]
# Attributes that change nothing in how a value is read, or an answer is meant.
_OF_NO_MATTER = frozenset({"name", "description", "pii"})


def misread(sent: Field, read: Field) -> dict[str, Change]:
    """Return the attributes, as (sent, read), by which `read` refuses a value that `sent` allows, or takes it for another one.

    Wider bounds and an optional field are no reason; any other attribute that differs is one, whatever it stands for.
    """
    return {name: change for name, change in _differing(sent, read).items() if not _is_wider(name, *change)}


def meant_otherwise(one: Target, other: Target) -> dict[str, Change]:
    """Return the attributes by which two answers mean something else; the order of labels counts, the threshold does not."""
    return {name: change for name, change in _differing(one, other).items() if name != "threshold"} | (
        {"name": (one.name, other.name)} if one.name != other.name else {}
    )


def breaks(live: FeatureSchema, new: FeatureSchema) -> list[Problem]:
    """Return what breaks callers of `live` when `new` answers instead: nothing, if every request is answered as before."""
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
            problems.append(Problem(None, name, "is gone: a request with it is refused"))
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
    """The attributes of two objects of one dataclass that differ and matter."""
    pairs = {
        entry.name: (_frozen(getattr(one, entry.name)), _frozen(getattr(other, entry.name))) for entry in fields(one)
    }
    return {name: pair for name, pair in pairs.items() if pair[0] != pair[1] and name not in _OF_NO_MATTER}


def _frozen(value: Any) -> Any:
    """A list that JSON made of a tuple is that tuple."""
    return tuple(value) if isinstance(value, list) else value


def _is_wider(name: str, sent: Any, read: Any) -> bool:
    """Whether a field whose attribute has the value `read` takes all that one with `sent` takes, as the same values."""
    if name == "required":
        return not read
    if name == "minimum":
        return _bound(read, -math.inf) <= _bound(sent, -math.inf)
    if name == "maximum":
        return _bound(read, math.inf) >= _bound(sent, math.inf)
    return name in ("source", "format") and not sent


def _bound(value: float | None, default: float) -> float:
    return default if value is None else value


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return "[" + ", ".join(map(_text, value)) + "]"
    return "none" if value is None else str(value)[:100]
