"""Files: canonical JSON, digests, atomic writes and private directories."""

from __future__ import annotations

import fcntl
import glob
import hashlib
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


def canonical_json(value: Any) -> bytes:
    """Return a JSON value in canonical form: sorted keys, two-space indent, UTF-8, a final newline.

    Raises:
        ValueError: the value contains NaN or infinity.
    """
    return (json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def tree_bytes(tree: Path) -> int:
    """Return the bytes of all files below a directory, or of the one file; a link counts for itself."""
    return sum(path.lstat().st_size for path in (tree, *tree.rglob("*")) if path.is_symlink() or not path.is_dir())


def private_directory(path: Path) -> None:
    """Make a directory and its missing parents with mode 0700, whatever the umask.

    An existing directory and its parent, if they are this user's, lose the write permission of group and others: with write access to
    the parent, another user could replace the directory.
    """
    # One by one: `mkdir(parents=True)` would make the parents by the umask, for others to read.
    for missing in reversed([place for place in (path, *path.parents) if not place.exists()]):
        missing.mkdir(mode=0o700, exist_ok=True)
    for place in (path, path.parent):
        found = place.stat()
        if found.st_mode & 0o022 and not found.st_mode & stat.S_ISVTX and found.st_uid == os.geteuid():
            place.chmod(stat.S_IMODE(found.st_mode) & ~0o022)


def fsync_file(path: Path) -> None:
    """Flush a file's bytes to the disk."""
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def fsync_directory(path: Path) -> None:
    """Flush a directory's entries to the disk, so that a rename in it outlives a power cut."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def part_of(path: Path) -> Path:
    """Return an unused hidden path beside `path`: a rename is atomic within one file system only.

    It is drawn, since two processes may write at once, and in two containers that share a directory both may have one process number.
    """
    return path.with_name(f".{path.name}.{os.urandom(6).hex()}.part")


@contextmanager
def atomic_path(path: Path, mode: int = 0o666) -> Iterator[Path]:
    """Yield the path of an empty file beside `path`, to be fsynced and renamed on success, removed on failure.

    What killed processes have left of the same path is removed first; one that still writes holds a lock on its own. On a shared file
    system whose locks are a machine's own, two machines must not write the same path at the same time.

    Args:
        mode: of the new file, less the umask.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    _remove_parts(path)
    descriptor, temporary = _new_part(path, mode)
    try:
        yield temporary
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        temporary.replace(path)
        # The rename itself is in the directory: without this a power cut may bring the old file back.
        fsync_directory(path.parent)
    except OSError as error:
        # A write to a full disk names no file. An error of Polars has a text alone, which a name would hide.
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise
    finally:
        os.close(descriptor)
        temporary.unlink(missing_ok=True)


def _new_part(path: Path, mode: int) -> tuple[int, Path]:
    """Make a part of a path, and lock it as long as its descriptor is open, where the file system has locks."""
    while True:
        part = part_of(path)
        descriptor = os.open(part, os.O_CREAT | os.O_EXCL | os.O_RDWR, mode)
        with suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.fstat(descriptor).st_nlink:
            return descriptor, part
        os.close(descriptor)  # another writer took it for a leftover before it was locked


def _remove_parts(path: Path) -> None:
    """Remove the parts of a path that nobody writes any more."""
    for part in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        # It may be locked, gone, another user's, or on a file system without locks.
        with suppress(OSError), part.open("rb+") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            part.unlink()


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that a crash leaves the old content or the new one."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
