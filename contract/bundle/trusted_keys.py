"""The trusted public keys of bundles; several of them allow a rotation while old bundles stay in use."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from contract.errors import ConfigurationError

VARIABLE = "BULKHEAD_VERIFY_KEY"
OWN = "verify*.pem"  # beside the signing key that `publish` has made: the present public key and the previous ones
_PUBLIC = re.compile(rb"-----BEGIN PUBLIC KEY-----.*?-----END PUBLIC KEY-----", re.DOTALL)


def read(environment: Mapping[str, str], own: Path, project: Path) -> tuple[bytes, ...]:
    """Return the public keys (PEM) of `BULKHEAD_VERIFY_KEY`: PEM text, a file, or a directory of `*.pem`.

    Args:
        own: the directory whose keys are trusted if the variable is not set.
        project: the base of a relative path.

    Raises:
        ConfigurationError: there is no key, one is not a public key on an elliptic curve, or a file cannot be read.
    """
    named = environment.get(VARIABLE)
    if named is None:
        return _of_files(sorted(own.glob(OWN)), f"{own} (publish on this machine first, or set {VARIABLE})")
    if not named.strip():
        raise ConfigurationError(
            f"{VARIABLE} is empty: set it to a public key, or to a file or directory of public keys, or unset it"
        )
    # The key itself, as secrets of containers come in variables.
    if named.lstrip().startswith("-----BEGIN"):
        return parse(named.encode(), VARIABLE)
    path = project / named
    return _of_files(sorted(path.glob("*.pem")) if path.is_dir() else [path], f"{path}, which {VARIABLE} names")


def parse(text: bytes, where: str) -> tuple[bytes, ...]:
    """Return the keys in a PEM text, each in the form of `signature.public_key_of`."""
    keys = tuple(_checked(block, where) for block in _PUBLIC.findall(text))
    if not keys:
        raise ConfigurationError(f"no public key (PEM) to verify bundles with in {where}")
    return keys


def _of_files(paths: list[Path], where: str) -> tuple[bytes, ...]:
    try:
        return parse(b"\n".join(path.read_bytes() for path in paths), where)
    except OSError as error:
        raise ConfigurationError(
            f"cannot read the key to verify bundles with: {error.filename}: {error.strerror}"
        ) from error


def _checked(block: bytes, where: str) -> bytes:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        key = serialization.load_pem_public_key(b"\n".join(line.strip() for line in block.splitlines()))
    except (ValueError, TypeError) as error:
        raise ConfigurationError(
            f"a key to verify bundles with is not a PEM public key, in {where} ({error})"
        ) from error
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise ConfigurationError(f"a key to verify bundles with is not on an elliptic curve, in {where}")
    # Written anew: the signature names the SHA-256 of this spelling, whatever line ends the file has.
    spelled: bytes = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return spelled
