"""A key of the tests' own for a bundle."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from contract.bundle import signature

_PEM = serialization.Encoding.PEM


def sign(bundle: Path, public: Path) -> bytes:
    """Sign a bundle with a new key, and write its public one; return the private one."""
    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    signature.sign(bundle, private)
    public.write_bytes(key.public_key().public_bytes(_PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
    return private
