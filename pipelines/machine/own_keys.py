"""The signing key of a machine without a configured one, made on first use.

signing.pem           the private key
verify.pem            its public key
verify-<key>.pem      public keys of previous signing keys, still trusted

While a public key is there, a lost private key is not replaced by itself.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from contract import command_line
from contract.bundle import signature, trusted_keys
from contract.errors import ConfigurationError
from contract.files import atomic_path, part_of, private_directory, write_atomically

_SIGNING, _VERIFY = "signing.pem", "verify.pem"


def signing(directory: Path) -> bytes:
    """Return the private key (PEM), made on first use, and write its public key.

    Raises:
        ConfigurationError: the private key is lost, since its public key is there.
    """
    if not (directory / _SIGNING).exists():
        _make_first(directory)
    key = (directory / _SIGNING).read_bytes()
    _publish(directory, key)
    return key


def rotate(directory: Path) -> str:
    """Replace the private key, lost or not, and return a summary; the previous public keys stay trusted."""
    private_directory(directory)
    # The old public key is written before the private key is replaced, so that a crash in between loses no trust.
    if (directory / _SIGNING).exists():
        _publish(directory, (directory / _SIGNING).read_bytes())
    key = signature.make_key()
    with atomic_path(directory / _SIGNING, mode=0o600) as fresh:
        fresh.write_bytes(key)
    _publish(directory, key)
    trusted = ", ".join(path.name for path in sorted(directory.glob(trusted_keys.OWN)))
    return (
        f"{directory / _SIGNING} is a new key, {signature.key_id(signature.public_key_of(key))}; trusted are {trusted}"
    )


def _write_first(path: Path, content: bytes) -> None:
    """Write a new file that only its owner can read, under a temporary name first.

    Raises:
        FileExistsError: the file exists.
    """
    temporary = part_of(path)
    temporary.touch(mode=0o600)
    try:
        temporary.write_bytes(content)
        os.link(temporary, path)  # unlike a rename, a link fails if the file exists
    finally:
        temporary.unlink()


def _make_first(directory: Path) -> None:
    if known := sorted(directory.glob(trusted_keys.OWN)):
        raise ConfigurationError(
            f"{directory / _SIGNING} is lost, and fleets trust its public key ({known[0].name}): restore it from a backup, or make a "
            "new one with `python -m pipelines rotate-key`; earlier signatures stay trusted"
        )
    private_directory(directory)
    with suppress(FileExistsError):  # another process was faster
        _write_first(directory / _SIGNING, signature.make_key())
    command_line.tell(f"made a key to sign bundles with: {directory / _SIGNING} (production keys: docs/how-to/keys.md)")


def _publish(directory: Path, private_key: bytes) -> None:
    """Write the public key to `verify.pem`, and keep a previous one under its own name."""
    public, path = signature.public_key_of(private_key), directory / _VERIFY
    before = path.read_bytes() if path.exists() else public
    if before != public:
        write_atomically(directory / f"verify-{signature.key_id(before)}.pem", before)
    if before != public or not path.exists():
        write_atomically(path, public)
