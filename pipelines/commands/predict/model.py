"""The model to score with: a bundle of the store or a directory, verified as a fleet verifies it before it serves it."""

from __future__ import annotations

import os
from pathlib import Path

from contract.bundle import manifest, signature, trusted_keys
from contract.bundle.manifest import GOLDEN_FILE_NAME
from contract.errors import BundleError, ConfigurationError
from contract.model.predictor import Predictor
from pipelines import paths
from pipelines.machine import live
from pipelines.machine.settings import open_store


def find(reference: str | None) -> tuple[Path, str]:
    """Return path and digest of a bundle: by default the live one, else a digest or its beginning, a channel, or a path.

    Raises:
        ConfigurationError: there is no key to verify it with, or nothing is live.
        BundleError: there is no such bundle, it is corrupt, or no trusted key has signed it.
    """
    trusted = trusted_keys.read(os.environ, paths.var_directory() / "keys", paths.project())
    if reference and (Path(reference) / manifest.FILE_NAME).is_file():
        path = Path(reference)
        signature.verify(path, trusted)
        manifest.verify(path)
        return path, manifest.digest_of(path)
    if reference and os.sep in reference:
        raise ConfigurationError(f"--bundle {reference}: there is no bundle")
    store = open_store(trusted=trusted)
    digest = live.digest(store) if reference in (None, "live") else store.resolve(str(reference))
    if digest is None:
        raise ConfigurationError(
            f"the store {store.location} has no live bundle: deploy one, or name another with --bundle, such as `candidate`"
        )
    return store.path(digest), digest


def load(bundle: Path, count: int) -> list[Predictor]:
    """Return predictors of a bundle, one for each thread; its golden answers are checked, as a server does at its start.

    Raises:
        BundleError: an answer differs, so this machine or its libraries would not give the bits that a server gives.
    """
    directory = bundle / manifest.ARTIFACT
    predictors = [Predictor.load(directory) for _ in range(count)]
    if not predictors[0].check_golden(directory / GOLDEN_FILE_NAME):
        raise BundleError(f"{directory / GOLDEN_FILE_NAME} holds no request, so the model cannot be checked")
    return predictors
