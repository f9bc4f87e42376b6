"""The signature of a bundle: OpenSSF model signing with an elliptic-curve key, over every file of the tree.

A signature differs each time it is made, so it is no part of what the digest names. Training signs what it publishes with the
private key; the fleet holds the public one, and uses no bundle that it does not verify. Nothing here runs inside a bundle. Keys
are PEM, as bytes.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from contract.errors import BundleError, ConfigurationError
from contract.files import sha256

FILE_NAME = "bundle.sig"
_MANIFEST = "manifest.json"  # of `contract.bundle.manifest`, which needs this module


def sign(bundle: Path, private_key: bytes, target: Path | None = None) -> None:
    """Write the signature into the bundle, or to `target`.

    Raises:
        ConfigurationError: the key is no private key on an elliptic curve.
    """
    from model_signing import signing

    with _file(private_key) as path:
        try:
            signer = signing.Config().use_elliptic_key_signer(private_key=path)
        except (ValueError, TypeError) as error:
            raise ConfigurationError(f"the signing key is no PEM private key on an elliptic curve ({error})") from error
        with _named(bundle) as named:
            signer.set_hashing_config(_hashing(named)).sign(named, target or bundle / FILE_NAME)


def verify(bundle: Path, public_keys: Sequence[bytes]) -> bytes:
    """Hash every file and compare with what was signed; nothing of the bundle but the signature is parsed.

    Args:
        public_keys: those that are trusted, as `trusted_keys` gives them.

    Returns:
        The key that signed it.

    Raises:
        BundleError: there is no signature, it is of another key, or a file is changed, missing, added or a link.
    """
    from model_signing import verifying

    signature = bundle / FILE_NAME
    if signature.is_symlink() or not signature.is_file():
        raise BundleError(f"{bundle} is not signed: it has no {FILE_NAME}")
    try:
        key = _signer(signature.read_bytes(), public_keys)
        with _file(key) as path:
            verifier = verifying.Config().use_elliptic_key_verifier(public_key=path)
        verifier.set_hashing_config(_hashing(bundle)).verify(bundle, signature)
    except Exception as error:  # a signature that was tampered with makes the library raise anything
        ids = " or ".join(map(key_id, public_keys))
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise BundleError(f"the signature of {bundle} does not verify with the key {ids}: {reason}") from error
    return key


def make_key() -> bytes:
    """A new private key, on the curve NIST P-256."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key: bytes = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return key


def public_key_of(private_key: bytes) -> bytes:
    """The public key that verifies what the private one signs; raises as `sign` does."""
    from cryptography.hazmat.primitives import serialization

    try:
        public = serialization.load_pem_private_key(private_key, None).public_key()
    except (ValueError, TypeError) as error:
        raise ConfigurationError(f"the signing key is no PEM private key ({error})") from error
    key: bytes = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return key


def key_id(public_key: bytes) -> str:
    """A short name of a public key: the beginning of its SHA-256."""
    return hashlib.sha256(public_key).hexdigest()[:12]


def _signer(content: bytes, public_keys: Sequence[bytes]) -> bytes:
    """The key that the signature names. Raises ValueError where it is none of these, or the file is not the one spelling of its content.

    The library ignores some of its bytes.
    """
    hint = {hashlib.sha256(key).hexdigest(): key for key in public_keys}
    parsed = json.loads(content)
    envelope, named = parsed["dsseEnvelope"], parsed["verificationMaterial"]["publicKey"]["hint"]
    spelled = {
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {"publicKey": {"hint": named}, "tlogEntries": []},
        "dsseEnvelope": {
            "payload": _spelled(envelope["payload"]),
            "payloadType": "application/vnd.in-toto+json",
            "signatures": [{"sig": _spelled(envelope["signatures"][0]["sig"]), "keyid": ""}],
        },
    }
    if named not in hint or content != json.dumps(spelled, separators=(",", ":")).encode():
        raise ValueError("it is of another key, or was changed")
    return hint[named]


def _spelled(text: str) -> str:
    return base64.b64encode(base64.b64decode(text, validate=True)).decode()


def _hashing(bundle: Path) -> Any:
    from model_signing import hashing

    config = hashing.Config().use_file_serialization(hashing_algorithm="sha256", allow_symlinks=False)
    return config.set_ignored_paths(paths=[bundle / FILE_NAME], ignore_git_paths=False)


@contextmanager
def _named(bundle: Path) -> Iterator[Path]:
    """A copy named by the bundle's digest: the library signs a directory's name too, and refuses links."""
    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory) / sha256(bundle / _MANIFEST)
        shutil.copytree(bundle, copy, symlinks=True)
        yield copy


@contextmanager
def _file(key: bytes) -> Iterator[Path]:
    """The library takes keys from files, and reads them once; this one is a pipe, so that no key is on a disk when a process is killed."""
    reading, writing = os.pipe()
    try:
        os.write(writing, key)
        os.close(writing)
        yield Path(f"/dev/fd/{reading}")
    finally:
        os.close(reading)
