"""What the machine decides, not the table: read from the environment."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from contract.bundle import trusted_keys
from contract.errors import ConfigurationError
from contract.store.store import Store
from pipelines.machine import own_keys
from pipelines.paths import project, var_directory

SIGNING_KEY = "BULKHEAD_SIGNING_KEY"


def open_store(private_key: bytes | None = None, trusted: Sequence[bytes] | None = None) -> Store:
    """The bundle store: `BULKHEAD_STORE`, a directory, a `file://` or an `s3://` URL; `store` in the project by default."""
    location = os.environ.get("BULKHEAD_STORE", "store")
    location = location if "://" in location else str(project() / location)
    keys = None if trusted is None else lambda: trusted
    return Store(location, private_key=private_key, trusted=keys, cache=var_directory() / "bundles")


def source_root() -> Path:
    """Where the relative paths of `data.source` begin: the project. The tasks of a run, which work in a clone, have it in
    `BULKHEAD_SOURCE_ROOT`.
    """
    return (project() / os.environ.get("BULKHEAD_SOURCE_ROOT", "")).absolute()


def signing_key() -> bytes:
    """The private key, PEM: what `BULKHEAD_SIGNING_KEY` is or the file that it names; without it one below `var/keys`, made on first use.

    Raises:
        ConfigurationError: it cannot be read, or the one that was made is lost.
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
    """The public keys, PEM, that this machine trusts, as its fleet does; none where none is known."""
    own = var_directory() / "keys"
    if trusted_keys.VARIABLE not in os.environ and not list(own.glob(trusted_keys.OWN)):
        return ()
    return trusted_keys.read(os.environ, own, project())


def rotate_key() -> str:
    """Make a new signing key in place of the one below `var/keys`; what was signed before stays trusted.

    Raises:
        ConfigurationError: the signing key is another one, which this cannot replace.
    """
    if SIGNING_KEY in os.environ:
        raise ConfigurationError(f"{SIGNING_KEY} says which key signs: make a new one as docs/how-to/keys.md says")
    return own_keys.rotate(var_directory() / "keys")
