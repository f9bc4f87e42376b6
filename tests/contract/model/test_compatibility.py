"""What breaks callers when another schema answers them, and what does not."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from contract.errors import InvalidRowsError
from contract.model.compatibility import breaks
from contract.model.encoder import Encoder
from contract.schema.schema import Feature, FeatureSchema, Field, Target
from tests.contract.conftest import ROW, SCHEMA


def _with(name: str, **changes: Any) -> FeatureSchema:
    fields = tuple(replace(field, **changes) if field.name == name else field for field in SCHEMA.fields)
    return replace(SCHEMA, fields=fields)


def _without(name: str) -> FeatureSchema:
    features = tuple(feature for feature in SCHEMA.features if name not in feature.inputs)
    return replace(SCHEMA, fields=tuple(field for field in SCHEMA.fields if field.name != name), features=features)


def _more(required: bool) -> FeatureSchema:
    return replace(SCHEMA, fields=(*SCHEMA.fields, Field("snow", "number", required=required)))


@pytest.mark.parametrize(
    ("new", "field", "says"),
    [
        (_without("night"), "night", "is removed"),
        (_more(required=True), "snow", "is new and required"),
        (_with("wind", required=True), "wind", "required: False before, True now"),
        (_with("distance", kind="category"), "distance", "kind: number before, category now"),
        (_with("distance", unit="km"), "distance", "unit: mi before, km now"),
        (_with("distance", minimum=2), "distance", "minimum: 1 before, 2 now"),
        (_with("wind", maximum=200), "wind", "maximum: none before, 200 now"),
        (replace(SCHEMA, target=Target("late", ("late", "on_time"), 0.5)), None, "[on_time, late] before, [late, on_time] now"),
        (replace(SCHEMA, target=Target("late", ("on_time", "delayed"), 0.5)), None, "target, labels"),
        (replace(SCHEMA, target=Target("tardy", ("on_time", "late"), 0.5)), None, "target, name: late before, tardy now"),
        (replace(SCHEMA, name="toys"), None, "model name: toy before, toys now"),
    ],
)  # fmt: skip
def test_break_is_named_when_callers_are_refused_or_misread(new: FeatureSchema, field: str | None, says: str) -> None:
    (found,) = breaks(SCHEMA, new)
    assert found.field == field
    assert says in found.problem


@pytest.mark.parametrize(
    "new",
    [
        SCHEMA,
        _more(required=False),
        _with("carrier", required=False),
        _with("distance", minimum=None, maximum=6001),
        _with("carrier", description="airline", pii=True),
        replace(SCHEMA, target=replace(SCHEMA.target, threshold=0.3)),
        replace(SCHEMA, fields=tuple(reversed(SCHEMA.fields))),
        replace(SCHEMA, features=(*SCHEMA.features, Feature("weekday", "calendar", ("at",), {"part": "weekday"}))),
    ],
)
def test_nothing_breaks_when_every_request_is_read_as_before(new: FeatureSchema) -> None:
    assert breaks(SCHEMA, new) == []


@pytest.mark.parametrize(
    "new",
    [_without("night"), _more(required=True), _with("distance", maximum=100), _with("carrier", kind="boolean")],
)
def test_request_that_is_refused_is_a_break_that_is_named(new: FeatureSchema) -> None:
    """The encoder as the oracle, wherever it can tell."""
    features = tuple(
        feature for feature in new.features if feature.transform == "value" and "night" not in feature.inputs
    )
    Encoder(SCHEMA).encode_rows([ROW])
    with pytest.raises(InvalidRowsError) as caught:
        Encoder(replace(new, features=features)).encode_rows([ROW])
    assert {problem.field for problem in caught.value.problems} <= {found.field for found in breaks(SCHEMA, new)}


FOG = Field("fog", "number", required=False)


def test_field_that_is_deprecated_breaks_nobody_until_it_is_taken_away_or_read_otherwise() -> None:
    (night,) = (field for field in SCHEMA.fields if field.name == "night")
    assert breaks(SCHEMA, replace(_without("night"), deprecated=(night,))) == []
    deprecated = replace(SCHEMA, deprecated=(FOG,))
    assert breaks(deprecated, deprecated) == []
    assert [str(found) for found in breaks(deprecated, SCHEMA)] == [
        "field 'fog': is removed: a request with it is refused"
    ]
    read = replace(SCHEMA, fields=(*SCHEMA.fields, replace(FOG, kind="category", required=True)))
    assert {found.problem for found in breaks(deprecated, read)} == {
        "kind: number before, category now",
        "required: False before, True now",
    }
