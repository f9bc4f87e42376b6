"""The feature schema's own file."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from contract.errors import BundleError
from contract.schema.schema import FeatureSchema, Field, Target
from tests.contract.conftest import SCHEMA


def test_schema_is_the_same_when_written_and_read() -> None:
    for schema in (SCHEMA, replace(SCHEMA, deprecated=(Field("fog", "number", required=False),))):
        again = FeatureSchema.from_bytes(schema.to_bytes())
        assert again == schema
        assert again.to_bytes() == schema.to_bytes()


def test_schema_without_the_key_deprecated_has_no_deprecated_field() -> None:
    assert FeatureSchema.from_bytes(change(lambda raw: raw.pop("deprecated"))) == SCHEMA


@pytest.mark.parametrize(
    ("task", "target"),
    [("multiclass", Target("kind", ("a", "b", "c"))), ("regression", Target("price", unit="EUR"))],
)
def test_target_says_only_what_its_task_has(task: str, target: Target) -> None:
    schema = replace(SCHEMA, task=task, target=target)
    assert FeatureSchema.from_bytes(schema.to_bytes()) == schema
    assert "threshold" not in json.loads(schema.to_bytes())["target"]


def change(edit: Callable[[dict[str, Any]], Any]) -> bytes:
    raw: dict[str, Any] = json.loads(SCHEMA.to_bytes())
    edit(raw)
    return json.dumps(raw).encode()


@pytest.mark.parametrize(
    "edit",
    [
        lambda raw: raw.update(format=2),
        lambda raw: raw.update(extra=1),
        lambda raw: raw.pop("fields"),
        lambda raw: raw["fields"][0].update(kind="picture"),
        lambda raw: raw["fields"][0].update(colour="red"),
        lambda raw: raw.update(deprecated=[{"name": "carrier", "kind": "category"}]),
        lambda raw: raw.update(deprecated=[{"name": "fog", "kind": "picture"}]),
        lambda raw: raw["features"][0].update(inputs=["nothing"]),
        lambda raw: raw["target"].update(labels=["one"]),
        lambda raw: raw["target"].update(extra=1),
        lambda raw: raw["target"].pop("threshold"),
        lambda raw: raw["target"].update(labels=["a", "b", "c"]),
        lambda raw: raw.update(task="ranking"),
        lambda raw: raw.update(task="multiclass"),
        lambda raw: raw.update(task="regression"),
        lambda raw: raw.update(target=None),
    ],
)
def test_schema_is_refused_when_it_is_not_of_the_format(edit: Callable[[dict[str, Any]], Any]) -> None:
    with pytest.raises(BundleError, match="not a feature schema"):
        FeatureSchema.from_bytes(change(edit))


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"{", b"\xff"])
def test_schema_is_refused_when_it_is_no_json_object(content: bytes) -> None:
    with pytest.raises(BundleError, match="not a feature schema"):
        FeatureSchema.from_bytes(content)
