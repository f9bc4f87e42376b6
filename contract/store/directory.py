"""The bundle store in a directory.

A rename makes a bundle appear or replaces a channel's file; bundles are used in place.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import uuid
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from contract.bundle import manifest, signature
from contract.errors import BundleError
from contract.files import atomic_path, fsync_directory
from contract.store.place import (
    Entry,
    State,
    disk_failure,
    entries_of,
    hidden,
    listed,
    remove_tree,
    rename_unless_there,
    seal,
)


class Directory:
    """A place in a local directory; `root` need not exist before the first bundle is put."""

    def __init__(self, root: Path) -> None:
        self.location = str(root)
        self._bundles, self._channels = root / "bundles", root / "channels"

    @contextmanager
    def explained(self, doing: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise disk_failure(error, doing, self.location) from error

    def entries(self) -> list[Entry]:
        return entries_of(path for path in listed(self._bundles) if not path.name.startswith("."))

    def holds(self, digest: str, files: Collection[str] = ()) -> bool:
        """Return whether the directory exists: it appears whole, so a file that it lacks is corruption, which the check names."""
        del files
        return (self._bundles / digest).is_dir()

    def add(self, bundle: Path, digest: str, prepare: Callable[[Path], None]) -> bool:
        with hidden(self._bundles) as incoming:
            # Links are copied as links, so that the check refuses them; followed, they could bring in any file.
            shutil.copytree(bundle, incoming, symlinks=True)
            prepare(incoming)
            # Fsynced before the rename: a name must never stand for bytes that a power cut took.
            seal(incoming)
            return rename_unless_there(incoming, self._bundles / digest)

    def freshen(self, digest: str) -> None:
        with suppress(PermissionError):  # another publisher's
            os.utime(self._bundles / digest)
        fsync_directory(self._bundles)

    def fetch(self, digest: str, check: Callable[[Path], object]) -> Path:
        path = self._existing(digest)
        check(path)
        return path

    def copy(self, digest: str, target: Path) -> None:
        shutil.copytree(self._existing(digest), target, symlinks=True)

    def read_manifest(self, digest: str) -> bytes:
        return (self._existing(digest) / manifest.FILE_NAME).read_bytes()

    def replace_signature(self, digest: str, content: bytes) -> None:
        stored = self._bundles / digest
        with hidden(self._bundles) as incoming:
            incoming.mkdir()
            (incoming / signature.FILE_NAME).write_bytes(content)
            seal(incoming)
            stored.chmod(0o755)  # a rename needs a writable directory, and bundles are sealed
            (incoming / signature.FILE_NAME).replace(stored / signature.FILE_NAME)
            stored.chmod(0o555)
            fsync_directory(stored)

    def channels(self) -> list[str]:
        return [path.stem for path in listed(self._channels) if path.suffix == ".json" and path.name[0] != "."]

    def read(self, channel: str) -> State | None:
        try:
            content = self._path(channel).read_bytes()
        except FileNotFoundError:
            return None
        return State(content, hashlib.sha256(content).hexdigest())

    def swap(self, channel: str, content: bytes, version: str | None) -> bool:
        self._channels.mkdir(parents=True, exist_ok=True)
        with self._lock(channel):
            current = self.read(channel)
            if (current.version if current else None) != version:
                return False
            with atomic_path(self._path(channel)) as fresh:
                fresh.write_bytes(content)
                fresh.chmod(0o644)
                if current and os.geteuid() == 0:  # a move by an administrator keeps the channel's owner
                    owner = self._path(channel).stat()
                    os.chown(fresh, owner.st_uid, owner.st_gid)
        return True

    def remove(self, digest: str, is_needed: Callable[[], bool]) -> bool:
        path = self._bundles / digest
        away = self._bundles / f".removed-{digest}-{uuid.uuid4().hex}"
        path.rename(away)  # before the check, so that a channel moved meanwhile is either seen by it or finds no bundle
        needed = is_needed()
        if needed:
            rename_unless_there(away, path)
        remove_tree(away)
        return not needed

    def leftovers(self) -> list[Entry]:
        parts = [path for path in listed(self._channels) if path.name.startswith(".") and path.suffix == ".part"]
        return entries_of(path for path in (*listed(self._bundles), *parts) if path.name.startswith("."))

    def remove_leftover(self, name: str) -> None:
        bundle, part = self._bundles / name, self._channels / name
        if bundle.exists():
            remove_tree(bundle)
        part.unlink(missing_ok=True)

    def reserve(self, channel: str, content: bytes, uid: int, gid: int) -> None:
        """Give a channel's file, created if missing, and its lock to a user."""
        if self.read(channel) is None:
            self.swap(channel, content, None)
        for path in (self._path(channel), self._lock_path(channel)):
            path.touch(mode=0o600)
            os.chown(path, uid, gid)

    def _existing(self, digest: str) -> Path:
        path = self._bundles / digest
        if not path.is_dir():
            raise BundleError(f"no bundle {digest} in the store {self.location}")
        return path

    def _path(self, channel: str) -> Path:
        return self._channels / f"{channel}.json"

    def _lock_path(self, channel: str) -> Path:
        return self._channels / f".{channel}.lock"

    @contextmanager
    def _lock(self, channel: str) -> Iterator[None]:
        """Hold the channel's lock: one a channel, so that training never blocks a move of `live`."""
        with os.fdopen(os.open(self._lock_path(channel), os.O_RDWR | os.O_CREAT, 0o600), "w") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield
