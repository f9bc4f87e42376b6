"""The commit whose files a bundle was built from, found by their digests.

A manifest names no commit: the same files in another commit give the same bundle.
"""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from contract.bundle.manifest import Manifest
from contract.errors import BundleError, ConfigurationError, Problem

_SERVED = ("contract", "bentos")  # packages that the bundle has copies of
_SERVING_LOCK = "requirements/serving.txt"


def files_of(claims: Manifest) -> dict[str, str]:
    """Return the SHA-256 of every file of the project that a bundle was built from, by path."""
    served = {
        path.removeprefix("src/"): sha
        for path, sha in claims.files.items()
        if path.startswith(tuple(f"src/{package}/" for package in _SERVED)) and not path.endswith(".pyc")
    }
    locks = {
        claims.inputs["pipeline_lock"]: claims.inputs["pipeline_environment"],
        _SERVING_LOCK: claims.environment["lock_sha256"],
    }
    return {**claims.inputs["pipeline_code"], **served, **locks}


def commit_with(project: Path, files: Mapping[str, str]) -> str:
    """Return the newest commit in which exactly these files have these digests.

    Raises:
        BundleError: there is none; it names the files that differ from those of the nearest commit.
    """
    history = _History(project, [path for path in files if path.startswith("requirements/")])
    nearest: tuple[int, str, list[Problem]] | None = None
    for commit in history.commits():
        problems = _differences(files, history.digests(commit))
        if not problems:
            return commit
        if nearest is None or len(problems) < nearest[0]:
            nearest = len(problems), commit, problems
    if nearest is None:
        raise BundleError(f"the git history of {project} has no commit with code")
    _, commit, problems = nearest
    raise BundleError(
        f"no commit has the code of this bundle: it was built from uncommitted changes, or its commit is not in {project} "
        f"(fetch it, or deepen a shallow clone). {len(problems)} files differ from the nearest commit {commit[:12]}",
        problems,
    )


def _differences(files: Mapping[str, str], found: Mapping[str, str]) -> list[Problem]:
    told = {
        path: "is not in the commit"
        if path not in found
        else "is not in the bundle"
        if path not in files
        else "differs"
        for path in sorted(files.keys() | found.keys())
        if files.get(path) != found.get(path)
    }
    return [Problem(None, None, f"{path} {what}") for path, what in told.items()]


class _History:
    """The commits of a repository, and the digests of the files in them; every version of a file is read once."""

    def __init__(self, project: Path, locks: Sequence[str]) -> None:
        self._project, self._paths = project, ("pipelines", *_SERVED, *locks)
        self._digests: dict[str, str] = {}

    def commits(self) -> list[str]:
        """Return the commits that changed the code, the newest first; those that no branch has any more too."""
        return self._git("log", "--all", "--reflog", "--format=%H", "--", *self._paths).decode().split()

    def digests(self, commit: str) -> dict[str, str]:
        """Return the SHA-256 of the files that a bundle built from this commit names, by path."""
        listed = self._git("ls-tree", "-r", "-z", commit, "--", *self._paths).decode()
        entries = (entry.split("\t") for entry in listed.split("\0") if entry)
        blobs = {path: described.split()[2] for described, path in entries if _is_named(path)}
        self._read(sorted(set(blobs.values()) - self._digests.keys()))
        return {path: self._digests[blob] for path, blob in blobs.items()}

    def _read(self, blobs: list[str]) -> None:
        content, start = self._git("cat-file", "--batch", given="\n".join(blobs)), 0
        for blob in blobs:
            header, _, _ = content[start:].partition(b"\n") if start else content.partition(b"\n")
            size, start = int(header.split()[2]), start + len(header) + 1
            self._digests[blob] = hashlib.sha256(content[start : start + size]).hexdigest()
            start += size + 1

    def _git(self, *arguments: str, given: str = "") -> bytes:
        done = subprocess.run(
            ["git", *arguments], cwd=self._project, input=given.encode(), capture_output=True, check=False
        )
        if done.returncode:
            raise ConfigurationError(f"git {arguments[0]} failed in {self._project}: {done.stderr.decode().strip()}")
        return done.stdout


def _is_named(path: str) -> bool:
    if path.startswith("pipelines/"):
        return path.endswith(".py")
    return not path.endswith(".proto")
