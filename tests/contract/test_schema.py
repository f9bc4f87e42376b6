"""The feature schema's own file."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from contract.errors import BundleError
from contract.schema import FeatureSchema
from tests.contract.conftest import SCHEMA


def test_schema_is_the_same_when_written_and_read() -> None:
    again = FeatureSchema.from_bytes(SCHEMA.to_bytes())
    assert again == SCHEMA
    assert again.to_bytes() == SCHEMA.to_bytes()


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
        lambda raw: raw["features"][0].update(transform="square"),
        lambda raw: raw["features"][0].update(inputs=["nothing"]),
        lambda raw: raw["target"].update(labels=["one"]),
        lambda raw: raw["target"].update(extra=1),
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
