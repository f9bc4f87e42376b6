"""One function for all that a schema asks of a row: a call for each value would be more than half of the time that encoding takes.

It is made as source text, as `dataclasses` makes its methods. Nothing that a schema says becomes a part of the text but the kinds and
transforms of its closed sets, and positions: names, bounds, tables and functions are the text's globals.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from contract.schema.schema import FeatureSchema, Field
from contract.schema.texts import missing_numbers

Row = Mapping[str, Any]
Parser = Callable[[Any], Any]
Fallback = dict[str, str]
# Appends a row's features to the list, None for no value where it may be missing, and returns the fallbacks taken.
Program = Callable[[Row, list[float]], list[Fallback]]

# What a value passes that is canonical already, or is made so by a function (below): a call of a parser would take several times as
# long. What does not pass is parsed.
_PLAIN = {
    "number": "type(v{i}) is float and low{i} <= v{i} <= high{i}",
    "category": "type(v{i}) is str and v{i} in known{i}",
    "boolean": "type(v{i}) is bool",
}
# `fromisoformat` reads texts of this shape as 2013-12-24T17:30 or 2013-12-24T17:30:59, or not at all.
_ISO = (
    "type(v{i}) is str and ((n := len(v{i})) == 16 or n == 19 and v{i}[16] == ':') "
    "and v{i}[10] == 'T' and v{i}[13] == ':' and v{i}[7] == '-'"
)
_MADE = {"number": ("type(v{i}) is int and low{i} <= v{i} <= high{i}", "float"), "timestamp": (_ISO, "iso")}


def _ways(field: Field, numbers: frozenset[float]) -> tuple[str, tuple[str, str] | None]:
    """The test of canonical values, and the test and the function of those that are easily made so."""
    plain, made = _PLAIN.get(field.kind, "False"), _MADE.get(field.kind)
    if field.kind == "number" and numbers:
        excepted = " and v{i} not in none{i}"
        return plain + excepted, (_MADE["number"][0] + excepted, "float")
    if field.kind == "timestamp" and (field.missing or field.zone or field.unit or field.format):
        return "False", None
    return plain, made


def compiled(
    schema: FeatureSchema,
    parsers: Sequence[Parser],
    bounds: Mapping[str, tuple[float, float]],
    transforms: Sequence[Callable[..., float]],
    closed: Mapping[str, frozenset[str]],
) -> Program:
    """The function for a row.

    Args:
        parsers: of the fields, in their order.
        bounds: of the numbers, by name.
        transforms: of the features, in their order.
        closed: the known categories of the fields whose others are a fallback.

    Returns:
        A function that raises ValueError or AttributeError for a row that breaks the schema, and then may have appended nothing.
    """
    position = {field.name: index for index, field in enumerate(schema.fields)}
    names = frozenset(field.name for field in schema.accepted)
    known: dict[str, Any] = {"NAN": math.nan, "names": names, "iso": datetime.fromisoformat}
    text = ["def encode(row, encoded):", " get = row.get", " taken = []"]
    for i, field in enumerate(schema.fields):
        known |= {f"name{i}": field.name, f"parse{i}": parsers[i], f"required{i}": field.required}
        known[f"missing{i}"] = {"field": field.name, "problem": "missing"}
        if field.kind == "number":
            known[f"low{i}"], known[f"high{i}"] = bounds[field.name]
            known[f"none{i}"] = missing_numbers(field)  # few fields have any
        elif field.kind == "category":
            known[f"known{i}"] = closed.get(field.name, frozenset())
        plain, made = _ways(field, known.get(f"none{i}", frozenset()))
        text += [f" v{i} = get(name{i})", f" if not ({plain.format(i=i)}):"]
        if made is not None:
            text.append(f"  if {made[0].format(i=i)}: v{i} = {made[1]}(v{i})")
        text += [
            f"  {'if' if made is None else 'elif'} v{i} is not None or required{i}: v{i} = parse{i}(v{i})",
            f"  if v{i} is None: taken.append(missing{i})",
        ]
    text.append(" if not names.issuperset(row): raise ValueError")
    for name in closed:
        i = position[name]
        known |= {f"unknown{i}": {"field": name, "problem": "unknown category"}}
        text.append(f" if v{i} not in known{i} and v{i} is not None: taken.append(unknown{i})")
    values = []
    for i, feature in enumerate(schema.features):
        inputs = [f"v{position[name]}" for name in feature.inputs]
        if feature.transform == "value" and feature.inputs[0] in bounds:  # it is its value already
            values.append(f"NAN if {inputs[0]} is None else {inputs[0]}")
        else:
            known[f"transform{i}"] = transforms[i]
            values.append(f"transform{i}({', '.join(inputs)})")
    text += [f" encoded += ({', '.join(values)},)", " return taken"]
    exec("\n".join(text), known)  # noqa: S102  # nothing in it comes from outside: see above
    program: Program = known["encode"]
    return program
