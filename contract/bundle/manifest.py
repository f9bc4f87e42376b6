"""The manifest of a bundle: what the bundle is made of, and the digest that names it.

A bundle is a directory: a bento (`bento.yaml`, `src/`, `env/` …) with `manifest.json` at its root. The manifest lists the
SHA-256 of every other file; the bundle's digest is the SHA-256 of the manifest's own bytes, so the digest covers every byte but those
of the signature.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from contract.bundle import signature
from contract.errors import BundleError, Problem
from contract.files import canonical_json, sha256

FILE_NAME = "manifest.json"
FORMAT = 1
ARTIFACT = "src/bundle"  # where a bundle holds model, schema, reference, golden requests and limits
GOLDEN_FILE_NAME = "golden.json"


@dataclass(frozen=True)
class Manifest:
    """What a bundle claims.

    Attributes:
        name: the model's name, as answers give it.
        task: one of `contract.schema.tasks`.
        files: relative POSIX path -> SHA-256 of every file but the manifest.
        environment: `lock` (path within the bundle) and `lock_sha256` of the serving environment.
        inputs: digests of what went in: data partitions, params, code.
        metrics: the hold-out metrics, as `metrics.json` has them.
        gate: the evidence on which the model was approved.
    """

    name: str
    task: str
    files: dict[str, str]
    environment: dict[str, str]
    inputs: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    gate: dict[str, Any] = field(default_factory=dict)
    format: int = FORMAT

    def to_bytes(self) -> bytes:
        return canonical_json(asdict(self))


def tree_digests(root: Path) -> dict[str, str]:
    """SHA-256 of every file below `root` but the manifest and the signature, by relative POSIX path.

    Raises:
        BundleError: something is neither a directory nor a regular file (a link could point out of the bundle).
    """
    digests: dict[str, str] = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_symlink() or not (path.is_dir() or path.is_file()):
            raise BundleError(f"{name} in {root} is neither a file nor a directory; bundles hold nothing else")
        if path.is_file() and name not in (FILE_NAME, signature.FILE_NAME):
            digests[name] = sha256(path)
    return digests


def digest_of(bundle: Path) -> str:
    """The digest that names the bundle: SHA-256 of its manifest, in hex. Checks nothing else."""
    path = bundle / FILE_NAME
    if path.is_symlink() or not path.is_file():
        raise BundleError(f"{bundle} is not a bundle: it has no {FILE_NAME}")
    return sha256(path)


def read(bundle: Path) -> Manifest:
    """The manifest, parsed; its claims unchecked."""
    digest_of(bundle)
    return _parsed((bundle / FILE_NAME).read_bytes(), str(bundle / FILE_NAME))


def parse(content: bytes, digest: str) -> Manifest:
    """The manifest whose bytes those are.

    Raises:
        BundleError: they do not have that digest.
    """
    if hashlib.sha256(content).hexdigest() != digest:
        raise BundleError(f"the manifest of the bundle {digest} is changed: it does not have that digest")
    return _parsed(content, f"the manifest of the bundle {digest}")


def _parsed(content: bytes, where: str) -> Manifest:
    try:
        return Manifest(**json.loads(content))
    except (TypeError, ValueError) as error:
        raise BundleError(f"{where} is not a manifest of format {FORMAT}: {error}") from error


def verify(bundle: Path, digest: str | None = None) -> Manifest:
    """The manifest of a bundle whose every file is there, unchanged, and alone.

    Args:
        digest: the digest that the bundle must have, where the caller knows it.

    Raises:
        BundleError: naming the files that are missing, added or changed.
    """
    actual = digest_of(bundle)
    if digest is not None and actual != digest:
        raise BundleError(f"{bundle} has the digest {actual}, not {digest}")
    manifest = read(bundle)
    found = tree_digests(bundle)
    problems = [Problem(None, name, "missing") for name in sorted(manifest.files.keys() - found.keys())]
    problems += [Problem(None, name, "not in the manifest") for name in sorted(found.keys() - manifest.files.keys())]
    problems += [
        Problem(None, name, "changed")
        for name in sorted(found.keys() & manifest.files.keys())
        if found[name] != manifest.files[name]
    ]
    if problems:
        raise BundleError(f"bundle {actual} in {bundle} is not what its manifest says", problems)
    return manifest
