"""Settings of the machine, read from the environment."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from contract.bundle import trusted_keys
from contract.errors import ConfigurationError
from contract.store.store import Store
from pipelines.machine import blobs, own_keys
from pipelines.paths import project, var_directory

SIGNING_KEY = "BULKHEAD_SIGNING_KEY"


def open_store(private_key: bytes | None = None, trusted: Sequence[bytes] | None = None) -> Store:
    """Return the bundle store in `BULKHEAD_STORE`, a directory or a URL; by default `store` in the project."""
    location = os.environ.get("BULKHEAD_STORE") or "store"
    location = location if "://" in location else str(project() / location)
    keys = None if trusted is None else lambda: trusted
    return Store(location, private_key=private_key, trusted=keys, cache=var_directory() / "bundles")


def open_checkpoints() -> blobs.Directory | blobs.Objects:
    """Return the place in `BULKHEAD_CHECKPOINTS`, a directory or a URL; by default one that all runs of the project share."""
    location = os.environ.get("BULKHEAD_CHECKPOINTS")
    if not location:
        return blobs.open_blobs(str(var_directory() / "checkpoints"))
    return blobs.open_blobs(location if "://" in location else str(project() / location))


def source_root() -> Path:
    """Return the base of relative paths in `data.source`: `BULKHEAD_SOURCE_ROOT`, by default the project.

    Tasks of a run work in a clone, and get the project in that variable.
    """
    return (project() / os.environ.get("BULKHEAD_SOURCE_ROOT", "")).absolute()


def signing_key() -> bytes:
    """Return the private key (PEM) of `BULKHEAD_SIGNING_KEY`, PEM text or a file; by default one below `var/keys`, made on first use.

    Raises:
        ConfigurationError: it cannot be read, or the made one is lost.
    """
    named = os.environ.get(SIGNING_KEY)
    if named is None:
        return own_keys.signing(var_directory() / "keys")
    if named.lstrip().startswith("-----BEGIN"):
        return named.encode()
    try:
        return (project() / named).read_bytes()
    except OSError as error:
        raise ConfigurationError(f"{SIGNING_KEY} names {named!r}, which cannot be read ({error.strerror})") from error


def known_keys() -> tuple[bytes, ...]:
    """Return the public keys (PEM) that this machine and its fleet trust; none if none is known."""
    own = var_directory() / "keys"
    if trusted_keys.VARIABLE not in os.environ and not list(own.glob(trusted_keys.OWN)):
        return ()
    return trusted_keys.read(os.environ, own, project())


def rotate_key() -> str:
    """Replace the signing key below `var/keys`, and return a summary; earlier signatures stay trusted.

    Raises:
        ConfigurationError: the signing key is configured elsewhere, so this cannot replace it.
    """
    if SIGNING_KEY in os.environ:
        raise ConfigurationError(f"{SIGNING_KEY} sets the signing key, so replace it there; see docs/how-to/keys.md")
    return own_keys.rotate(var_directory() / "keys")
