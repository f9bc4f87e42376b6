"""Hypothesis strategies for rows, from a server's OpenAPI document: allowed, forbidden, and arbitrary ones."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from hypothesis import strategies as st

from drills.hostile.requests import CANARY

Row = dict[str, Any]
Schema = dict[str, Any]
_HUGE = st.sampled_from([1e300, -1e300, 10**400, -(10**400), 2**63, 2**64])
_WRONG_FOR_ALL = st.sampled_from([[CANARY], [], {CANARY: CANARY}, {}, [[1]]])

# Arbitrary JSON, with our own keys in it more often than by chance.
anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=40)
    | _HUGE,
    lambda inner: (
        st.lists(inner, max_size=6)
        | st.dictionaries(
            st.sampled_from(["rows", "inputs", "name", "data", "shape", "datatype", "parameters"]) | st.text(), inner
        )
    ),
    max_leaves=30,
)


def allowed(row: Schema) -> st.SearchStrategy[Row]:
    """Return a strategy of rows that the document allows; `row` is its schema of one."""
    fields = {name: _value(field) for name, field in row["properties"].items()}
    required = {name: fields[name] for name in row["required"]}
    return st.fixed_dictionaries(required, optional={name: fields[name] for name in fields if name not in required})


def forbidden(row: Schema) -> st.SearchStrategy[tuple[Row, str]]:
    """Return a strategy of rows with one forbidden value, and the name of its field."""
    names = [*row["properties"], CANARY]
    return st.sampled_from(names).flatmap(lambda name: st.tuples(_spoiled(row, name), st.just(name)))


def _spoiled(row: Schema, name: str) -> st.SearchStrategy[Row]:
    value = _wrong(row["properties"][name], required=name in row["required"]) if name in row["properties"] else anything
    spoiled = st.builds(lambda right, wrong: {**right, name: wrong}, allowed(row), value)
    if name not in row["required"]:
        return spoiled
    return spoiled | st.builds(lambda right: {key: right[key] for key in right if key != name}, allowed(row))


def _value(field: Schema) -> st.SearchStrategy[Any]:
    """Return a strategy of a field's allowed values. Bounds are inclusive."""
    value: st.SearchStrategy[Any]
    if field["type"] == "number":
        low, high = field.get("minimum"), field.get("maximum")
        value = st.floats(low, high, allow_nan=False, allow_infinity=False)
        if low is not None and high is not None:
            value |= st.integers(-(-low // 1), high // 1) if high // 1 >= -(-low // 1) else st.nothing()
    elif field["type"] == "boolean":
        value = st.booleans()
    elif "pattern" in field:
        value = st.datetimes(datetime(1, 1, 1), datetime(9999, 12, 31)).map(
            lambda when: when.isoformat(timespec="minutes")
        )
    else:
        text = st.text(st.characters(codec="utf-8"), min_size=1, max_size=30).filter(
            str.strip
        )  # a blank text counts as missing
        value = text | st.sampled_from(["JFK", "B6", "unknown"])
    return value | st.none() if field.get("nullable") else value


def _wrong(field: Schema, *, required: bool) -> st.SearchStrategy[Any]:
    wrong: st.SearchStrategy[Any] = _WRONG_FOR_ALL
    if required:
        wrong |= st.none()
    if field["type"] == "number":
        wrong |= st.sampled_from([CANARY, True, False, "1,5", "0x1"])
        for bound, beyond in (("minimum", -1e-6), ("maximum", 1e-6)):
            if bound in field:
                wrong |= st.just(field[bound] + beyond * max(1.0, abs(field[bound])))
    elif field["type"] == "boolean":
        wrong |= st.sampled_from([CANARY, 2, 0.5, "maybe"])
    elif "pattern" in field:
        wrong |= st.sampled_from([CANARY, 17, True, "2013-13-45T99:99", "2013-12-24T17:30Z", "2013-12-24T17:30+01:00"])
    return wrong
