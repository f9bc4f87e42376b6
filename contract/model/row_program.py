"""One compiled function to check and encode a row: a call for each value would take more than half of the time.

It is compiled from source text, as `dataclasses` does. Of the schema, only kinds and transforms, which are closed sets, and positions
enter the text; names, bounds, tables and functions are its globals.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from contract.model.transforms import TRANSFORMS, Function
from contract.schema.kinds import KINDS
from contract.schema.schema import FeatureSchema, Field
from contract.schema.texts import missing_numbers

Row = Mapping[str, Any]
Parser = Callable[[Any], Any]
Fallback = dict[str, str]
# Appends a row's features to the list, and returns the fallbacks taken.
Program = Callable[[Row, list[float]], list[Fallback]]

# Test of canonical values, by type. Other values go through a function (below) or else a parser, which takes several times as long.
_PLAIN = {
    float: "type(v{i}) is float and low{i} <= v{i} <= high{i}",
    str: "type(v{i}) is str and v{i} in known{i}",
    bool: "type(v{i}) is bool",
}
# `fromisoformat` accepts texts of this shape only if they are like 2013-12-24T17:30 or 2013-12-24T17:30:59.
_ISO = (
    "type(v{i}) is str and ((n := len(v{i})) == 16 or n == 19 and v{i}[16] == ':') "
    "and v{i}[10] == 'T' and v{i}[13] == ':' and v{i}[7] == '-'"
)
# Optional shortcuts for kinds that callers usually send in another form: its test, and the function to the canonical value.
_MADE = {"number": ("type(v{i}) is int and low{i} <= v{i} <= high{i}", "float"), "timestamp": (_ISO, "iso")}


def _ways(field: Field, numbers: frozenset[float]) -> tuple[str, tuple[str, str] | None]:
    """Return the test of canonical values, and the test and function of the shortcut, if there is one."""
    plain, made = _PLAIN.get(KINDS[field.kind].canonical, "False"), _MADE.get(field.kind)
    if numbers:
        excepted = " and v{i} not in none{i}"
        return plain + excepted, made and (made[0] + excepted, made[1])
    if field.kind == "timestamp" and (field.missing or field.zone or field.unit or field.format):
        return plain, None
    return plain, made


def compiled(
    schema: FeatureSchema,
    parsers: Sequence[Parser],
    bounds: Mapping[str, tuple[float, float]],
    functions: Sequence[Function],
    closed: Mapping[str, frozenset[str]],
) -> Program:
    """Return the function for a row.

    Args:
        parsers: parsers of the fields, in their order.
        bounds: bounds of the fields that have any, by name.
        functions: transforms of the features, in their order.
        closed: known categories of the fields in which another category is a fallback, by name.

    Returns:
        A function that raises ValueError or AttributeError for a row that violates the schema, and then has appended nothing.
    """
    position = {field.name: index for index, field in enumerate(schema.fields)}
    names = frozenset(field.name for field in schema.accepted)
    known: dict[str, Any] = {"NAN": math.nan, "names": names, "iso": datetime.fromisoformat}
    text = ["def encode(row, encoded):", " get = row.get", " taken = []"]
    for i, field in enumerate(schema.fields):
        known |= {f"name{i}": field.name, f"parse{i}": parsers[i], f"required{i}": field.required}
        known[f"missing{i}"] = {"field": field.name, "problem": "missing"}
        known[f"known{i}"] = closed.get(field.name, frozenset())
        if field.name in bounds:
            known[f"low{i}"], known[f"high{i}"] = bounds[field.name]
        known[f"none{i}"] = missing_numbers(field) if field.name in bounds else frozenset()  # few fields have any
        plain, made = _ways(field, known[f"none{i}"])
        text += [f" v{i} = get(name{i})", f" if not ({plain.format(i=i)}):"]
        if made is not None:
            text.append(f"  if {made[0].format(i=i)}: v{i} = {made[1]}(v{i})")
        text += [
            f"  {'if' if made is None else 'elif'} v{i} is not None or required{i}: v{i} = parse{i}(v{i})",
            f"  if v{i} is None: taken.append(missing{i})",
        ]
        if KINDS[field.kind].canonical is float:
            text.append(f" elif not v{i}: v{i} = 0.0")  # turns -0, which is not canonical, into 0
    text.append(" if not names.issuperset(row): raise ValueError")
    for name in closed:
        i = position[name]
        known |= {f"unknown{i}": {"field": name, "problem": "unknown category"}}
        text.append(f" if v{i} not in known{i} and v{i} is not None: taken.append(unknown{i})")
    values = []
    for i, feature in enumerate(schema.features):
        inputs = [f"v{position[name]}" for name in feature.inputs]
        canonical = KINDS[schema.fields[position[feature.inputs[0]]].kind].canonical
        known[f"transform{i}"] = functions[i]
        call = f"transform{i}({', '.join(inputs)})"
        values.append(TRANSFORMS[feature.transform].inline.get(canonical, call).format(*inputs))
    text += [f" encoded += ({', '.join(values)},)", " return taken"]
    exec("\n".join(text), known)  # noqa: S102  # the text contains closed sets and positions only, nothing from outside
    program: Program = known["encode"]
    return program
