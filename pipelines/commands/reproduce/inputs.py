"""The inputs that a bundle's manifest names, gathered before anything is built: all that is missing is told at once."""

from __future__ import annotations

import hashlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from contract.bundle import evidence, manifest
from contract.bundle.manifest import Manifest
from contract.errors import BundleError, Problem
from contract.store.store import Store
from pipelines.commands.reproduce import history
from pipelines.data.integrity.check import content_of, places_of
from pipelines.data.integrity.objects import Object
from pipelines.paths import partition


@dataclass(frozen=True)
class Inputs:
    """The inputs of one bundle.

    Attributes:
        commit: has the code and the locks.
        params: the text of `params.yaml`.
        partitions: a copy of every month's partition, by its path in a workspace.
        champion: the bundle that this one was judged against, if any.
        lock, lock_sha256: path and SHA-256 of the lock of the environment that trained.
    """

    project: Path
    commit: str
    params: bytes
    partitions: dict[Path, Path]
    champion: Path | None
    lock: str
    lock_sha256: str


def gather(project: Path, published: Path, store: Store, directory: Path) -> Inputs:
    """Return the inputs of a bundle; the partitions are copied from the cache or the remote of DVC below `directory`.

    Raises:
        BundleError: some are missing or differ; with all of them.
        UnavailableError: the remote does not answer.
    """
    claims = manifest.read(published)
    params = published / manifest.PARAMS_FILE_NAME
    if not params.is_file() or "objects" not in claims.inputs:
        raise BundleError(
            f"the bundle {manifest.digest_of(published)[:12]} does not name its inputs in full: an earlier version built it, which "
            "recorded neither params.yaml nor DVC's digests of the partitions"
        )
    problems: list[Problem] = []
    commit, champion = "", None
    try:
        commit = history.commit_with(project, history.files_of(claims))
    except BundleError as error:
        problems += [Problem(None, None, f"code: {error.message}"), *error.problems]
    partitions, missing = _partitions(project, claims, directory)
    problems += missing + _interpreter(published)
    if digest := claims.gate.get("champion"):
        try:
            champion = store.path(digest)
        except BundleError as error:
            problems.append(
                Problem(None, None, f"champion: the model was judged against {digest[:12]}: {error.message}")
            )
    if problems:
        raise BundleError(f"{manifest.digest_of(published)[:12]} cannot be reproduced here", problems)
    lock = (claims.inputs["pipeline_lock"], claims.inputs["pipeline_environment"])
    return Inputs(project, commit, params.read_bytes(), partitions, champion, *lock)


def _partitions(project: Path, claims: Manifest, directory: Path) -> tuple[dict[Path, Path], list[Problem]]:
    places, copies, problems = places_of(project), {}, []
    for month, digest in claims.inputs["partitions"].items():
        path, copy = partition(month), directory / f"{month}.parquet"
        content = content_of(Object(claims.inputs["objects"][month], path), places)
        if content is None:
            told = "is neither in the cache nor in the remote of DVC, or corrupt there"
        elif hashlib.sha256(content).hexdigest() != digest:
            told = "in DVC has another SHA-256 than in the manifest"
        else:
            copy.write_bytes(content)
            copies[path] = copy
            continue
        problems.append(Problem(None, None, f"data: {path} (MD5 {claims.inputs['objects'][month]}) {told}"))
    return copies, problems


def _interpreter(published: Path) -> list[Problem]:
    """Return a problem if another version of Python built the bundle, which is in its provenance."""
    statement: dict[str, Any] = json.loads((published / evidence.PROVENANCE).read_bytes())
    then = statement["predicate"]["runDetails"]["builder"]["version"]["python"]
    now = ".".join(map(str, sys.version_info[:3]))
    return (
        [Problem(None, None, f"environment: Python {then} built it, and this is Python {now}")] if then != now else []
    )
