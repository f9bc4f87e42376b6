"""What DVC keeps: the files that `dvc.lock` names, and the places where their bytes lie."""

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
    """A file of an output, or the list of a directory's files: `oid` is the MD5 of its bytes, with `.dir` for a list.

    `path` is where the workspace has it; a list is in no workspace.
    """

    oid: str
    path: Path

    @property
    def is_list(self) -> bool:
        return self.oid.endswith(DIRECTORY)


class Filesystem(Protocol):
    """The part of DVC's file systems that is used here."""

    def exists(self, path: str) -> bool: ...
    def open(self, path: str, mode: str) -> Any: ...
    def makedirs(self, path: str, exist_ok: bool) -> None: ...
    def parent(self, path: str) -> str: ...
    def put_file(self, source: str, target: str) -> None: ...
    def move(self, source: str, target: str) -> None: ...
    def remove(self, path: str) -> None: ...


@dataclass(frozen=True)
class Place:
    """Where objects lie under their names: the cache or a remote. `database` is DVC's own object database."""

    name: str
    database: Any

    def has(self, entry: Object) -> bool:
        with self._filesystem() as filesystem:
            return filesystem.exists(self.database.oid_to_path(entry.oid))

    def is_intact(self, entry: Object) -> bool:
        with self._filesystem() as filesystem, filesystem.open(self.database.oid_to_path(entry.oid), "rb") as stream:
            return md5(stream) == entry.oid.removesuffix(DIRECTORY)

    def read(self, entry: Object) -> bytes:
        with self._filesystem() as filesystem, filesystem.open(self.database.oid_to_path(entry.oid), "rb") as stream:
            content: bytes = stream.read()
        return content

    def replace(self, entry: Object, source: Path) -> None:
        """Write the object anew, under a temporary name first."""
        target = self.database.oid_to_path(entry.oid)
        with self._filesystem() as filesystem:
            filesystem.makedirs(filesystem.parent(target), exist_ok=True)
            filesystem.put_file(str(source), f"{target}.part")
            self.remove(entry)
            filesystem.move(f"{target}.part", target)

    def remove(self, entry: Object) -> None:
        with self._filesystem() as filesystem:
            if self.has(entry):
                filesystem.remove(self.database.oid_to_path(entry.oid))

    @contextmanager
    def _filesystem(self) -> Iterator[Filesystem]:
        """What is asked of it is answered, or the whole check stops: an object that cannot be read now is not a bad one."""
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
    """Path -> object of every output in `dvc.lock`; empty where there is no such file yet."""
    if not lock.is_file():
        return {}
    content = yaml.load(lock.read_bytes(), Loader=yaml.CSafeLoader)  # thousands of lines
    stages = content.get("stages", {})
    return {Path(out["path"]): out["md5"] for stage in stages.values() for out in stage.get("outs", ())}


def listed(content: bytes, directory: Path) -> Iterator[Object]:
    """The files that a directory's list names."""
    for entry in json.loads(content):
        yield Object(entry["md5"], directory / entry["relpath"])


def list_of(directory: Path) -> bytes:
    """The list that DVC makes of a directory, byte for byte."""
    files = sorted(path for path in directory.rglob("*") if path.is_file())
    entries = [{"md5": md5_of(path), "relpath": path.relative_to(directory).as_posix()} for path in files]
    return json.dumps(sorted(entries, key=lambda entry: entry["relpath"]), sort_keys=True).encode()


def md5_of(path: Path) -> str:
    with path.open("rb") as stream:
        return md5(stream)


def md5(stream: Any) -> str:
    """DVC's name for these bytes. A check against decay and accidents: it is not what bundles are signed with."""
    digest = hashlib.md5(usedforsecurity=False)
    while block := stream.read(_BLOCK_BYTES):
        digest.update(block)
    return digest.hexdigest()
