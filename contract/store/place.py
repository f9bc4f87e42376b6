"""The interface between a store and its storage, a directory or a bucket."""

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
from urllib.parse import unquote, urlsplit

from contract.bundle import manifest
from contract.errors import BulkheadError, ConfigurationError, UnavailableError
from contract.files import fsync_directory, fsync_file, tree_bytes

_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS}
_MISPLACED = {errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP}


@dataclass(frozen=True)
class Entry:
    """A stored bundle, named by its digest, or a leftover of an interrupted upload, named by its path.

    Attributes:
        stored_at: time of the last put, by the clock of the machine that holds it.
    """

    name: str
    size_bytes: int
    stored_at: datetime


@dataclass(frozen=True)
class State:
    """A channel's file; `version` identifies exactly this content."""

    content: bytes
    version: str


class Place(Protocol):
    """Storage of bundles by digest, each complete or absent, and of channels by name."""

    location: str

    def explained(self, doing: str) -> AbstractContextManager[None]:
        """Turn failures within into ConfigurationError, for missing permissions, or else UnavailableError."""

    def entries(self) -> list[Entry]:
        """Return the bundles, by digest."""

    def holds(self, digest: str, files: Collection[str] = ()) -> bool:
        """Return whether the bundle is there, with these files where storage can lose single ones."""

    def add(self, bundle: Path, digest: str, prepare: Callable[[Path], None]) -> bool:
        """Store a copy of the bundle once `prepare` has checked and signed it; return whether that very copy is there now."""

    def freshen(self, digest: str) -> None:
        """Set the bundle's `stored_at` to now, since it was put again."""

    def fetch(self, digest: str, check: Callable[[Path], object]) -> Path:
        """Return a local directory with the bundle, which has passed the check. Raises BundleError if it is missing."""

    def copy(self, digest: str, target: Path) -> None:
        """Write the bundle to a new local directory, unchecked. Raises BundleError if it is missing."""

    def read_manifest(self, digest: str) -> bytes:
        """Return the bytes of the bundle's manifest, unchecked. Raises BundleError if it is missing."""

    def replace_signature(self, digest: str, content: bytes) -> None:
        """Write the bundle's signature; a reader sees the old file or the new one."""

    def channels(self) -> list[str]:
        """Return the names of the channels, sorted."""

    def read(self, channel: str) -> State | None:
        """Return the channel's file, or None if it does not exist."""

    def swap(self, channel: str, content: bytes, version: str | None) -> bool:
        """Write the channel if it still has that version (None: does not exist); return whether it was written."""

    def remove(self, digest: str, is_needed: Callable[[], bool]) -> bool:
        """Hide the bundle, ask whether it is needed, then restore or delete it; return whether it is deleted."""

    def leftovers(self) -> list[Entry]:
        """Return the leftovers of interrupted uploads and deletions."""

    def remove_leftover(self, name: str) -> None:
        """Delete one of `leftovers`, by its name."""


@contextmanager
def hidden(directory: Path) -> Iterator[Path]:
    """Yield an unused, hidden path in the directory; remove on exit whatever is there."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f".incoming-{uuid.uuid4().hex}"
    try:
        yield path
    finally:
        with suppress(OSError):  # a failing disk may keep it; `leftovers` names it
            remove_tree(path)


def seal(tree: Path, readable: int = 0o444) -> None:
    """Fsync a tree and make it read-only; `readable` holds the mode bits of its readers."""
    for path in (*sorted(tree.rglob("*"), reverse=True), tree):
        if path.is_dir():
            fsync_directory(path)
            path.chmod(readable | readable >> 2)
        else:
            fsync_file(path)
            path.chmod(readable)


def rename_unless_there(source: Path, target: Path) -> bool:
    """Rename, or leave a name that was taken meanwhile alone: the same digest is the same bytes. Return whether it was renamed."""
    try:
        source.rename(target)
    except OSError:
        if not target.is_dir():
            raise
        return False
    finally:
        fsync_directory(target.parent)
    return True


def remove_tree(tree: Path) -> None:
    """Delete a tree, sealed or not, if it exists."""
    if not tree.exists():
        return
    for path in (tree, *tree.rglob("*")):
        # Sealed directories first need write permission to be emptied; chmod would follow a link out of the tree.
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
    shutil.rmtree(tree)


def listed(directory: Path) -> list[Path]:
    """Return the sorted paths in a directory; none if it does not exist."""
    return sorted(directory.iterdir()) if directory.is_dir() else []


def entries_of(paths: Iterable[Path]) -> list[Entry]:
    """Return the entries of directories or files, dated by their own ctime, which a copy does not inherit."""
    entries = []
    for path in paths:
        with suppress(FileNotFoundError):  # renamed or deleted meanwhile
            entries.append(Entry(path.name, tree_bytes(path), datetime.fromtimestamp(path.lstat().st_ctime, UTC)))
    return entries


def disk_failure(error: OSError, doing: str, location: str) -> BulkheadError:
    """Return the project's error for a local file system's."""
    where = error.filename2 or error.filename or location
    if error.errno in _REFUSED:
        return ConfigurationError(
            f"user {os.geteuid()} has no permission to {doing}: {where}: {error.strerror}; see docs/how-to/store.md for permissions"
        )
    if error.errno in _MISPLACED:
        return ConfigurationError(f"cannot {doing}: {where}: {error.strerror}; correct this path")
    copies = error.args[0] if isinstance(error, shutil.Error) else ()  # copytree collects its failures in one error
    reason = error.strerror or (copies[0][2] if copies and isinstance(copies, list) else str(error))
    return UnavailableError(
        f"cannot {doing}: {where}: {reason}; the store is unchanged, so fix the cause and try again"
    )


def local_path(location: str) -> Path | None:
    """Return the path of a local place, given as a path or a `file:///` URL; None for any other URL."""
    parts = urlsplit(location)
    if not parts.scheme:
        return Path(location)
    # `file://store` names a host, and no directory.
    is_local = parts.scheme == "file" and parts.netloc in ("", "localhost") and parts.path.startswith("/")
    return Path(unquote(parts.path)) if is_local else None


def is_complete(names: Collection[str], files: Collection[str]) -> bool:
    """Return whether all of a bundle's files are there, the manifest included, which is written last."""
    return {manifest.FILE_NAME, *files} <= set(names)
