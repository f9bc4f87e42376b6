"""A bundle store in a bucket, as the training plane uses it: publish writes to it, champion reads what is live."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from contract.bundle import manifest
from contract.errors import ConfigurationError
from contract.files import write_atomically
from pipelines import paths
from pipelines.commands.publish import command as publish
from pipelines.machine.settings import open_store, signing_key
from pipelines.params.params import Params
from pipelines.stages.champion import stage as champion
from tests.contract.conftest import write_bundle


@pytest.fixture
def bucket(workspace: Path, s3: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**s3, "BULKHEAD_STORE": "s3://models/bulkhead"}.items():
        monkeypatch.setenv(name, value)


def _write_bundle(model: str) -> str:
    """`build/bundle`, with what the two stages look at."""
    for name, text in (("model.onnx", model), ("schema.json", "{}")):
        write_atomically(paths.BUNDLE / manifest.ARTIFACT / name, text.encode())
    write_bundle(paths.BUNDLE)
    claims = replace(manifest.read(paths.BUNDLE), inputs={"partitions": {"2024-01": "0" * 64}})
    (paths.BUNDLE / manifest.FILE_NAME).write_bytes(claims.to_bytes())
    return manifest.digest_of(paths.BUNDLE)


@pytest.mark.usefixtures("bucket")
def test_bundle_is_published_to_a_bucket_and_becomes_the_champion(
    params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = _write_bundle("a model")
    open_store(signing_key()).put(paths.BUNDLE)  # what is in the store already is not rehearsed
    assert publish.run(params) == f"{digest} is now the candidate"
    assert publish.run(params) == f"{digest} is the candidate already"
    store = open_store()
    store.move("live", store.resolve("candidate"), expected=None, by="test")
    for name in ("model.onnx", "schema.json"):
        write_atomically(paths.BOOSTED / name, b"another model")
    champion.run(params)
    assert json.loads((paths.CHAMPION / "champion.json").read_bytes()) == {"digest": digest, "learned": None}
    assert (paths.CHAMPION / "model.onnx").read_bytes() == b"a model"
    assert [path.name for path in Path().iterdir() if path.name == "store"] == []
    for location, reason in (("s3://models/typo", "was live"), ("s3://no-such-bucket/bulkhead", "cannot be opened")):
        monkeypatch.setenv("BULKHEAD_STORE", location)
        with pytest.raises(ConfigurationError, match=reason):
            champion.run(params)
