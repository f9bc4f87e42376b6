"""DVC's objects: the files in `dvc.lock`, and the cache and remote that store them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import yaml

from contract.errors import BulkheadError, UnavailableError

_BLOCK_BYTES = 1 << 20
DIRECTORY = ".dir"


@dataclass(frozen=True)
class Object:
    """A file of an output, or the list of a directory's files.

    Attributes:
        oid: MD5 of its bytes, with `.dir` for a list.
        path: the file or directory in the workspace.
    """

    oid: str
    path: Path

    @property
    def is_list(self) -> bool:
        """True for the list of a directory's files."""
        return self.oid.endswith(DIRECTORY)


class Filesystem(Protocol):
    """The used part of DVC's file systems, which are those of fsspec."""

    def exists(self, path: str) -> bool:
        """Return whether the path exists."""

    def open(self, path: str, mode: str) -> Any:
        """Open a file."""

    def makedirs(self, path: str, exist_ok: bool) -> None:
        """Make a directory and its parents."""

    def parent(self, path: str) -> str:
        """Return the parent of a path."""

    def put_file(self, source: str, target: str) -> None:
        """Upload a local file."""

    def move(self, source: str, target: str) -> None:
        """Rename a file."""

    def remove(self, path: str) -> None:
        """Delete a file."""


@dataclass(frozen=True)
class Place:
    """The cache or a remote; `database` is DVC's own object database."""

    name: str
    database: Any

    def has(self, entry: Object) -> bool:
        """Return whether the object is there, corrupt or not."""
        with self._filesystem() as filesystem:
            return filesystem.exists(self.database.oid_to_path(entry.oid))

    def is_intact(self, entry: Object) -> bool:
        """Return whether the object has the MD5 in its name."""
        with self._filesystem() as filesystem, filesystem.open(self.database.oid_to_path(entry.oid), "rb") as stream:
            return md5(stream) == entry.oid.removesuffix(DIRECTORY)

    def read(self, entry: Object) -> bytes:
        """Return the object's bytes."""
        with self._filesystem() as filesystem, filesystem.open(self.database.oid_to_path(entry.oid), "rb") as stream:
            content: bytes = stream.read()
        return content

    def replace(self, entry: Object, source: Path) -> None:
        """Replace the object by a file's bytes, under a temporary name first."""
        target = self.database.oid_to_path(entry.oid)
        with self._filesystem() as filesystem:
            filesystem.makedirs(filesystem.parent(target), exist_ok=True)
            filesystem.put_file(str(source), f"{target}.part")
            self.remove(entry)
            filesystem.move(f"{target}.part", target)

    def remove(self, entry: Object) -> None:
        """Delete the object, if it is there."""
        with self._filesystem() as filesystem:
            if self.has(entry):
                filesystem.remove(self.database.oid_to_path(entry.oid))

    @contextmanager
    def _filesystem(self) -> Iterator[Filesystem]:
        """Yield the file system, and stop the whole check if it fails: an unreadable object need not be corrupt."""
        try:
            yield self.database.fs
        except BulkheadError:
            raise
        except Exception as error:
            reason = " ".join(str(error).split())[:300]
            raise UnavailableError(
                f"the {self.name} of DVC does not answer ({type(error).__name__}: {reason})"
            ) from error


def outputs(lock: Path) -> dict[Path, str]:
    """Return the object of every output in `dvc.lock`, by path; empty if there is no such file.

    Raises:
        UnavailableError: the file is torn. DVC writes it in place, so that a kill leaves its beginning, or nothing.
    """
    if not lock.is_file():
        return {}
    text = lock.read_bytes()
    try:
        content = yaml.load(text, Loader=yaml.CSafeLoader)  # in C: the file has thousands of lines
        found = {
            Path(out["path"]): out["md5"]
            for stage in content.get("stages", {}).values()
            for out in stage.get("outs", ())
        }
    except (yaml.YAMLError, AttributeError, KeyError, TypeError):
        found = None
    # A value that was cut is a value, too; what DVC has written to the end ends with a line.
    if found is None or not text.endswith(b"\n"):
        raise UnavailableError(
            f"{lock} is torn: its writing was interrupted. Run `python -m pipelines verify`, which puts it aside; "
            "`dvc repro` then writes it again, with the results from its run cache"
        )
    return found


def listed(content: bytes, directory: Path) -> Iterator[Object]:
    """Yield the files in a directory's list."""
    for entry in json.loads(content):
        yield Object(entry["md5"], directory / entry["relpath"])


def list_of(directory: Path) -> bytes:
    """Return the list that DVC writes for a directory, byte for byte."""
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    entries = [{"md5": md5_of(path), "relpath": path.relative_to(directory).as_posix()} for path in files]
    return json.dumps(sorted(entries, key=lambda entry: entry["relpath"]), sort_keys=True).encode()


def md5_of(path: Path) -> str:
    """Return the MD5 of a file."""
    with path.open("rb") as stream:
        return md5(stream)


def md5(stream: Any) -> str:
    """Return the MD5 of a stream, DVC's name of the bytes.

    It detects corruption, not attacks; bundles are signed with SHA-256.
    """
    digest = hashlib.md5(usedforsecurity=False)
    while block := stream.read(_BLOCK_BYTES):
        digest.update(block)
    return digest.hexdigest()
