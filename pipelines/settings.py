"""What the machine decides, not the table: read from the environment."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from pathlib import Path

from contract import signature
from contract.errors import ConfigurationError
from contract.files import write_atomically
from contract.store import Store

_logger = logging.getLogger(__name__)


def open_store(private_key: bytes | None = None) -> Store:
    """The bundle store: `BULKHEAD_STORE`, a directory, a `file://` or an `s3://` URL; `store` in the working directory by default."""
    location = os.environ.get("BULKHEAD_STORE", "store")
    return Store(location, private_key=private_key, cache=var_directory() / "bundles")


def var_directory() -> Path:
    """What is kept beside the project and by no version control: `BULKHEAD_VAR`; `var` in the working directory by default."""
    return Path(os.environ.get("BULKHEAD_VAR", "var"))


def source_root() -> Path:
    """Where the relative paths of `data.source` begin: the project. The tasks of a run, which work in a clone, have it in
    `BULKHEAD_SOURCE_ROOT`.
    """
    return Path(os.environ.get("BULKHEAD_SOURCE_ROOT", ".")).absolute()


def signing_key() -> bytes:
    """The private key, PEM: what `BULKHEAD_SIGNING_KEY` is or the file that it names; without it one below `var/keys`, made on first use.

    Raises:
        ConfigurationError: the file that it names cannot be read.
    """
    named = os.environ.get("BULKHEAD_SIGNING_KEY")
    if named and named.lstrip().startswith("-----BEGIN"):
        return named.encode()
    try:
        return Path(named).read_bytes() if named else _own_key(var_directory() / "keys")
    except OSError as error:
        raise ConfigurationError(
            f"BULKHEAD_SIGNING_KEY names {named}, which cannot be read ({error.strerror})"
        ) from error


def write_private(path: Path, content: bytes) -> None:
    """Write a new file that only its owner can read, under a temporary name first.

    Raises:
        FileExistsError: it is there already.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    temporary.touch(mode=0o600)
    try:
        temporary.write_bytes(content)
        os.link(temporary, path)
    finally:
        temporary.unlink()


def _own_key(directory: Path) -> bytes:
    private, public = directory / "signing.pem", directory / "verify.pem"
    if not private.exists():
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileExistsError):  # another process was faster
            write_private(private, signature.make_key())
        _logger.warning(
            "made a new signing key, %s; in production set BULKHEAD_SIGNING_KEY for training, and BULKHEAD_VERIFY_KEY for the fleet",
            private,
        )
    key = private.read_bytes()
    if not public.exists():
        write_atomically(public, signature.public_key_of(key))
    return key
