"""Stage `champion`: the live model, fetched from the bundle store to compare the new one with it."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from contract.bundle import manifest
from contract.errors import BundleError
from contract.files import canonical_json, sha256, write_atomically
from contract.model.predictor import MODEL_FILE_NAME
from contract.schema import schema
from contract.schema.schema import FeatureSchema
from pipelines import paths
from pipelines.machine import live
from pipelines.machine.settings import open_store
from pipelines.params.params import Params
from pipelines.stages.champion import unchanged


def run(_params: Params) -> str:
    """Write `models/champion`: `champion.json`, and the model and schema of the live bundle, if any.

    `champion.json` has the `digest` (null: nothing is live), and the rule of the rows that this model `learned` from (null: unknown).

    A model is never compared with itself: if the live bundle holds the model that was just trained, the champion is the one that it
    was judged against. So a run repeated after its own deployment has the same inputs, and does no work.

    Raises:
        ConfigurationError: the store names no live bundle though one was seen.
    """
    store = open_store()
    served = live.digest(store)
    digest, rule = served, None
    if digest and _is_this_model(store.path(digest), digest):
        # It may have been removed from the store since.
        judged_against = manifest.read(store.path(digest)).gate.get("champion")
        digest = judged_against if judged_against in store.digests() else None
    shutil.rmtree(paths.CHAMPION, ignore_errors=True)
    if digest:
        rule = manifest.read(store.path(digest)).gate.get("learned")
        for name in (MODEL_FILE_NAME, schema.FILE_NAME):
            content = (store.path(digest) / manifest.ARTIFACT / name).read_bytes()
            write_atomically(paths.CHAMPION / name, content)
    write_atomically(paths.CHAMPION / "champion.json", canonical_json({"digest": digest, "learned": rule}))
    unchanged.remember()
    if served is None:
        return "nothing is live yet"
    if served == digest:
        return f"fetched the live model {digest[:12]}"
    return f"the model is already live as {served[:12]}; " + (
        f"fetched {digest[:12]}, which it was judged against"
        if digest
        else "the store has no model that it was judged against"
    )


def _is_this_model(bundle: Path, digest: str) -> bool:
    """Return True if the bundle holds the model that was just trained, whatever its deprecated fields are."""
    claims = manifest.verify(bundle, digest)
    if claims.files.get(f"{manifest.ARTIFACT}/{MODEL_FILE_NAME}") != sha256(paths.BOOSTED / MODEL_FILE_NAME):
        return False
    trained = FeatureSchema.from_bytes((paths.BOOSTED / schema.FILE_NAME).read_bytes())
    try:
        served = FeatureSchema.from_bytes((bundle / manifest.ARTIFACT / schema.FILE_NAME).read_bytes())
    except BundleError:  # a schema of another version
        return False
    return replace(served, deprecated=()) == trained
