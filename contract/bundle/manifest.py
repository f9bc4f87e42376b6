"""The manifest of a bundle: its files, its origin, and the digest that names it.

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

from contract.bundle import tree
from contract.errors import BundleError, Problem
from contract.files import canonical_json, sha256

FILE_NAME = tree.MANIFEST
FORMAT = 1
ARTIFACT = "src/bundle"  # directory of model, schema, reference, golden requests and limits
GOLDEN_FILE_NAME = "golden.json"
PARAMS_FILE_NAME = "params.yaml"  # at the root: the params as they were parsed, in their order


@dataclass(frozen=True)
class Manifest:
    """The claims of a bundle.

    Attributes:
        name: the model's name in answers.
        task: one of `contract.schema.tasks`.
        files: SHA-256 of every file but manifest and signature, by relative POSIX path.
        environment: `lock` (path within the bundle) and `lock_sha256` of the serving environment.
        inputs: digests of data partitions (`objects`: those of DVC), params and code.
        metrics: the hold-out metrics in `metrics.json`.
        gate: the verdict on the model, and what later ones are judged by; the checks are in `evidence.GATES`.
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
        """Return the content of `manifest.json`."""
        return canonical_json(asdict(self))


def tree_digests(root: Path) -> dict[str, str]:
    """Return the SHA-256 of every file below `root` but manifest and signature, by relative POSIX path.

    Raises:
        BundleError: an entry is neither a directory nor a regular file; a link could point out of the bundle.
    """
    return {name: digest for name, digest in tree.digests(str(root)).items() if name != FILE_NAME}


def fingerprint(bundle: Path, digest: str) -> str:
    """Return the fingerprint of the tree that the bundle of this digest has, by its manifest."""
    return tree.fingerprint({**read(bundle).files, FILE_NAME: digest})


def digest_of(bundle: Path) -> str:
    """Return the bundle's digest, the SHA-256 of its manifest in hex; nothing else is checked."""
    path = bundle / FILE_NAME
    if path.is_symlink() or not path.is_file():
        raise BundleError(f"{bundle} is not a bundle: it has no {FILE_NAME}")
    return sha256(path)


def read(bundle: Path) -> Manifest:
    """Return the parsed manifest; its claims are not verified."""
    # For its checks: a manifest that is a link could lie outside of the bundle.
    digest_of(bundle)
    return _parsed((bundle / FILE_NAME).read_bytes(), str(bundle / FILE_NAME))


def parse(content: bytes, digest: str) -> Manifest:
    """Return the manifest in these bytes.

    Raises:
        BundleError: they do not have that digest.
    """
    if hashlib.sha256(content).hexdigest() != digest:
        raise BundleError(f"the manifest of the bundle {digest} is corrupt: its digest differs")
    return _parsed(content, f"the manifest of the bundle {digest}")


def _parsed(content: bytes, where: str) -> Manifest:
    try:
        return Manifest(**json.loads(content))
    except (TypeError, ValueError) as error:
        raise BundleError(f"{where} is not a manifest of format {FORMAT}: {error}") from error


def verify(bundle: Path, digest: str | None = None) -> Manifest:
    """Verify the digest of every file of a bundle and return the manifest.

    Args:
        digest: the digest that the bundle must have, if the caller knows it.

    Raises:
        BundleError: files are missing, added or changed; it names them.
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
        raise BundleError(f"bundle {actual} in {bundle} does not match its manifest", problems)
    return manifest
