"""The signature of a bundle: OpenSSF model signing with an elliptic-curve key, over every file of the tree.

A signature differs each time it is made, so it is no part of what the digest names. Training signs what it publishes with the
private key; the fleet holds the public one, and uses no bundle that it does not verify. Nothing here runs inside a bundle. Keys
are PEM, as bytes.
"""

from __future__ import annotations

import base64
import hashlib
import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from contract.errors import BundleError, ConfigurationError

FILE_NAME = "bundle.sig"


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
        signer.set_hashing_config(_hashing(bundle)).sign(bundle, target or bundle / FILE_NAME)


def verify(bundle: Path, public_key: bytes) -> None:
    """Hash every file and compare with what was signed; nothing of the bundle but the signature is parsed.

    Raises:
        BundleError: there is no signature, it is of another key, or a file is changed, missing, added or a link.
        ConfigurationError: the key is no public key on an elliptic curve.
    """
    from model_signing import verifying

    if not public_key:
        raise ConfigurationError(
            "there is no key to verify bundles with: set BULKHEAD_VERIFY_KEY to the public key, or publish on this machine first"
        )
    signature = bundle / FILE_NAME
    if signature.is_symlink() or not signature.is_file():
        raise BundleError(f"{bundle} is not signed: it has no {FILE_NAME}")
    with _file(public_key) as path:
        try:
            verifier = verifying.Config().use_elliptic_key_verifier(public_key=path)
        except (ValueError, TypeError) as error:
            raise ConfigurationError(
                f"the key to verify with is no PEM public key on an elliptic curve ({error})"
            ) from error
        try:
            _require_one_spelling(signature.read_bytes(), public_key)
            verifier.set_hashing_config(_hashing(bundle)).verify(bundle, signature)
        except Exception as error:  # a signature that was tampered with makes the library raise anything
            reason = " ".join(str(error).split())[:300] or type(error).__name__
            raise BundleError(
                f"the signature of {bundle} does not verify with the key {key_id(public_key)}: {reason}"
            ) from error


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


def _require_one_spelling(content: bytes, public_key: bytes) -> None:
    """Raises ValueError where the file is not the one spelling of its signature: the library ignores some of its bytes."""
    envelope = json.loads(content)["dsseEnvelope"]
    spelled = {
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {
            "publicKey": {"hint": hashlib.sha256(public_key).hexdigest()},
            "tlogEntries": [],
        },
        "dsseEnvelope": {
            "payload": _spelled(envelope["payload"]),
            "payloadType": "application/vnd.in-toto+json",
            "signatures": [{"sig": _spelled(envelope["signatures"][0]["sig"]), "keyid": ""}],
        },
    }
    if content != json.dumps(spelled, separators=(",", ":")).encode():
        raise ValueError("it is of another key, or was changed")


def _spelled(text: str) -> str:
    return base64.b64encode(base64.b64decode(text, validate=True)).decode()


def _hashing(bundle: Path) -> Any:
    from model_signing import hashing

    config = hashing.Config().use_file_serialization(hashing_algorithm="sha256", allow_symlinks=False)
    return config.set_ignored_paths(paths=[bundle / FILE_NAME], ignore_git_paths=False)


@contextmanager
def _file(key: bytes) -> Iterator[Path]:
    """The library takes keys from files; this one only its owner can reach, while it lasts."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "key.pem"
        path.write_bytes(key)
        yield path
