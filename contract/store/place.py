"""Where a store lies: what a directory and a bucket have to be able to do so that bundles and channels can live in them."""

from __future__ import annotations

import errno
import os
import shutil
import uuid
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol

from contract.bundle import manifest
from contract.errors import BulkheadError, ConfigurationError, UnavailableError
from contract.files import fsync_directory, fsync_file, tree_bytes

_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS}


@dataclass(frozen=True)
class Entry:
    """A bundle by its digest, or what an upload that was cut short has left, by its name.

    Attributes:
        stored_at: when it was last put, by the clock of the machine that holds it.
    """

    name: str
    size_bytes: int
    stored_at: datetime


@dataclass(frozen=True)
class State:
    """A channel's file. `version` stands for this content of it, and for no other."""

    content: bytes
    version: str


class Place(Protocol):
    """Bundles by digest, each there whole or not at all, and channels by name."""

    location: str

    def explained(self, doing: str) -> AbstractContextManager[None]:
        """What fails within becomes an error of ours: ConfigurationError where it is not permitted, else UnavailableError."""

    def entries(self) -> list[Entry]:
        """The bundles, by digest."""

    def holds(self, digest: str, files: Collection[str] = ()) -> bool:
        """Whether the bundle is there, and, where files can be lost one by one, these."""

    def add(self, bundle: Path, digest: str, prepare: Callable[[Path], None]) -> None:
        """Take in a copy of the bundle once `prepare` has checked and signed it."""

    def freshen(self, digest: str) -> None:
        """It was put again: `stored_at` is now."""

    def fetch(self, digest: str, check: Callable[[Path], object]) -> Path:
        """A directory of this machine with the bundle, which has passed the check. Raises BundleError where it is not there."""

    def copy(self, digest: str, target: Path) -> None:
        """Write the bundle to a new directory of this machine, unchecked. Raises BundleError where it is not there."""

    def read_manifest(self, digest: str) -> bytes:
        """The bytes of its manifest, unchecked. Raises BundleError where it is not there."""

    def replace_signature(self, digest: str, content: bytes) -> None: ...

    def channels(self) -> list[str]: ...

    def read(self, channel: str) -> State | None: ...

    def swap(self, channel: str, content: bytes, version: str | None) -> bool:
        """Write the channel if it is still of that version (None: is not there); whether that was so."""

    def remove(self, digest: str, is_needed: Callable[[], bool]) -> bool:
        """Hide the bundle, ask whether it is needed, and delete it, or show it again; whether it is gone."""

    def leftovers(self) -> list[Entry]:
        """What uploads and deletions that were cut short have left."""

    def remove_leftover(self, name: str) -> None: ...


@contextmanager
def hidden(directory: Path, prefix: str = ".incoming-") -> Iterator[Path]:
    """A new name in the directory that nobody looks at; what is there in the end is removed."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"{prefix}{uuid.uuid4().hex}"
    try:
        yield path
    finally:
        with suppress(OSError):  # a disk that fails keeps it; `leftovers` names it
            remove_tree(path)


def seal(tree: Path, readable: int = 0o444) -> None:
    """Make a tree durable and read-only, for those whose bits are in `readable`."""
    for path in (*sorted(tree.rglob("*"), reverse=True), tree):
        if path.is_dir():
            fsync_directory(path)
            path.chmod(readable | readable >> 2)
        else:
            fsync_file(path)
            path.chmod(readable)


def rename_unless_there(source: Path, target: Path) -> None:
    """A name that was taken meanwhile is left alone: the same digest is the same bytes."""
    try:
        source.rename(target)
    except OSError:
        if not target.is_dir():
            raise
    fsync_directory(target.parent)


def remove_tree(tree: Path) -> None:
    if not tree.exists():
        return
    for path in (tree, *tree.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
    shutil.rmtree(tree)


def listed(directory: Path) -> list[Path]:
    return sorted(directory.iterdir()) if directory.is_dir() else []


def entries_of(paths: Iterable[Path]) -> list[Entry]:
    """The time is that of the last change of the directory itself, which a copy of it does not bring along."""
    entries = []
    for path in paths:
        with suppress(FileNotFoundError):  # it ended, or was deleted, meanwhile
            entries.append(Entry(path.name, tree_bytes(path), datetime.fromtimestamp(path.lstat().st_ctime, UTC)))
    return entries


def disk_failure(error: OSError, doing: str, location: str) -> BulkheadError:
    """The error of ours for one of this machine's file systems."""
    where = error.filename2 or error.filename or location
    if error.errno in _REFUSED:
        return ConfigurationError(
            f"the user {os.geteuid()} may not {doing}: {where}: {error.strerror}; docs/how-to/store.md says who may write what"
        )
    copies = error.args[0] if isinstance(error, shutil.Error) else ()  # copytree puts all of its failures into one
    reason = error.strerror or (copies[0][2] if copies and isinstance(copies, list) else str(error))
    return UnavailableError(
        f"cannot {doing}: {where}: {reason}; what was there is unchanged, so repair that and try again"
    )


def is_complete(names: Collection[str], files: Collection[str]) -> bool:
    """Whether all of a bundle is there; its manifest comes last."""
    return {manifest.FILE_NAME, *files} <= set(names)
