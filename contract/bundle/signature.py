"""The signature of a bundle: OpenSSF model signing with an elliptic-curve key, over every file of the tree.

Each signature has other bytes, so the digest does not cover it. Training signs published bundles with the private key; the fleet has
public keys and uses verified bundles only. Servers sign and verify nothing. Keys are PEM, as bytes.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from contract.bundle import tree
from contract.errors import BundleError, ConfigurationError
from contract.files import sha256

FILE_NAME = tree.SIGNATURE


def sign(bundle: Path, private_key: bytes, target: Path | None = None) -> None:
    """Write the signature into the bundle, or to `target`.

    Raises:
        ConfigurationError: the key is not a private key on an elliptic curve.
    """
    # Imported where it is used, as below: a server's environment lacks it, and the import takes half a second.
    from model_signing import signing

    with _file(private_key) as path:
        try:
            signer = signing.Config().use_elliptic_key_signer(private_key=path)
        except (ValueError, TypeError) as error:
            raise ConfigurationError(
                f"the signing key is not a PEM private key on an elliptic curve ({error})"
            ) from error
        with _named(bundle) as named:
            signer.set_hashing_config(_hashing(named)).sign(named, target or bundle / FILE_NAME)


def verify(bundle: Path, public_keys: Sequence[bytes]) -> bytes:
    """Hash every file and compare with the signature; nothing else of the bundle is parsed.

    Args:
        public_keys: the trusted keys, from `trusted_keys`.

    Returns:
        The key that signed the bundle.

    Raises:
        BundleError: the signature is missing or of another key, or a file is changed, missing, added or a link.
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
    except Exception as error:  # the library raises any type for a forged signature
        ids = " or ".join(map(key_id, public_keys))
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise BundleError(f"the signature of {bundle} does not verify with the key {ids}: {reason}") from error
    return key


def make_key() -> bytes:
    """Return a new private key on the curve NIST P-256."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key: bytes = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return key


def public_key_of(private_key: bytes) -> bytes:
    """Return the public key of a private key; raises as `sign` does."""
    from cryptography.hazmat.primitives import serialization

    try:
        public = serialization.load_pem_private_key(private_key, None).public_key()
    except (ValueError, TypeError) as error:
        raise ConfigurationError(f"the signing key is not a PEM private key ({error})") from error
    key: bytes = public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    return key


def key_id(public_key: bytes) -> str:
    """Return the short name of a public key, the first 12 digits of its SHA-256."""
    return hashlib.sha256(public_key).hexdigest()[:12]


def _signer(content: bytes, public_keys: Sequence[bytes]) -> bytes:
    """Return the trusted key that the signature names.

    Raises:
        ValueError: the key is not among these, or the file is not in canonical form: the library ignores some of its bytes.
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
        raise ValueError("it was made with another key, or was changed")
    return hint[named]


def _spelled(text: str) -> str:
    # Several texts decode to the same bytes; only the canonical one is accepted, so a signature has one spelling.
    return base64.b64encode(base64.b64decode(text, validate=True)).decode()


def _hashing(bundle: Path) -> Any:
    from model_signing import hashing

    config = hashing.Config().use_file_serialization(hashing_algorithm="sha256", allow_symlinks=False)
    return config.set_ignored_paths(paths=[bundle / FILE_NAME], ignore_git_paths=False)


@contextmanager
def _named(bundle: Path) -> Iterator[Path]:
    """Yield a copy named by the bundle's digest: the library signs the directory's name too, and refuses links."""
    # Imported here: servers import this module at their start, for the name of a file alone.
    import shutil
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        copy = Path(directory) / sha256(bundle / tree.MANIFEST)
        shutil.copytree(bundle, copy, symlinks=True)
        yield copy


@contextmanager
def _file(key: bytes) -> Iterator[Path]:
    """Yield the path of a pipe with the key, for a library that reads keys from files, so that no key reaches a disk."""
    reading, writing = os.pipe()
    try:
        os.write(writing, key)
        os.close(writing)
        yield Path(f"/dev/fd/{reading}")
    finally:
        os.close(reading)
