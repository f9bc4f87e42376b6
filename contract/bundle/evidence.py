"""The evidence in a bundle: gates and card of its model, the SBOM of its serving environment, and its provenance."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from contract.bundle.manifest import Manifest
from contract.errors import BundleError, Problem

SBOM = "sbom.cdx.json"  # CycloneDX
MODEL_CARD = "model_card.md"  # the same evidence, for people; the SBOM has it for machines
GATES = "gates.json"  # the verdict on the model, and every check behind it
PROVENANCE = "provenance.intoto.json"  # in-toto statement v1, SLSA provenance v1
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://slsa.dev/provenance/v1"
_PINNED = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)


def check(bundle: Path, claims: Manifest) -> None:
    """Compare SBOM and provenance with a bundle whose manifest was verified.

    Raises:
        BundleError: one is missing, is invalid, or names other files or packages.
    """
    _check_provenance(_read(bundle / PROVENANCE), claims)
    _check_sbom(_read(bundle / SBOM), (bundle / claims.environment["lock"]).read_text())


def subjects(files: dict[str, str]) -> list[dict[str, Any]]:
    """Return the subjects of a provenance, as in-toto writes them: every other file, by path."""
    return [{"name": name, "digest": {"sha256": files[name]}} for name in sorted(files) if name != PROVENANCE]


def packages(lock: str) -> dict[str, list[str]]:
    """Return the versions that a lock pins, by normalised package name; several if they differ by platform."""
    versions: dict[str, list[str]] = {}
    for name, version in _PINNED.findall(lock):
        versions.setdefault(_normal(name), []).append(version)
    return versions


def _check_provenance(statement: dict[str, Any], claims: Manifest) -> None:
    if (statement.get("_type"), statement.get("predicateType")) != (STATEMENT_TYPE, PREDICATE_TYPE):
        raise BundleError(f"{PROVENANCE} is not an SLSA provenance v1")
    if statement.get("subject") != subjects(claims.files):
        raise BundleError(f"the subjects of {PROVENANCE} are not the files of this bundle")


def _check_sbom(sbom: dict[str, Any], lock: str) -> None:
    if sbom.get("bomFormat") != "CycloneDX" or not sbom.get("components"):
        raise BundleError(f"{SBOM} is not a CycloneDX SBOM")
    pinned = {(name, version) for name, versions in packages(lock).items() for version in versions}
    found = {(_normal(entry["name"]), entry.get("version", "")) for entry in sbom["components"]}
    # Not the other way round: a lock also pins packages of other platforms.
    if unpinned := sorted(found - pinned):
        problems = [Problem(None, name, f"version {version} is not in the lock") for name, version in unpinned]
        raise BundleError(f"{SBOM} names packages that are not in the bundle's lock", problems)


def _normal(name: str) -> str:
    """Return a package's normalised name.

    Source: name normalisation in the Python packaging specifications.
    """
    return re.sub(r"[-_.]+", "-", name).lower()


def _read(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise BundleError(f"{path.name} of the bundle is missing or unreadable: {error}") from error
    return content
