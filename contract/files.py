"""Writing so that a crash leaves the old file or the new one, never half of one, and directories that nobody else can write."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def canonical_json(value: Any) -> bytes:
    """The one spelling of a JSON value: sorted keys, two-space indent, UTF-8, a final newline; NaN and infinity are refused."""
    return (json.dumps(value, sort_keys=True, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def tree_bytes(tree: Path) -> int:
    """Bytes of all files below a directory, or of the one file; a link counts for itself."""
    return sum(path.lstat().st_size for path in (tree, *tree.rglob("*")) if path.is_symlink() or not path.is_dir())


def private_directory(path: Path) -> None:
    """Make a directory, and the parents that it lacks, for this user alone, whatever the umask.

    Where it was there already, nobody else may write to it or to its parent any more, if that is this user's: another program may have
    made them, and who can write to a parent can put something else in the place of what is below it.
    """
    for missing in reversed([place for place in (path, *path.parents) if not place.exists()]):
        missing.mkdir(mode=0o700, exist_ok=True)
    for place in (path, path.parent):
        found = place.stat()
        if found.st_mode & 0o022 and not found.st_mode & stat.S_ISVTX and found.st_uid == os.geteuid():
            place.chmod(stat.S_IMODE(found.st_mode) & ~0o022)


def fsync_file(path: Path) -> None:
    with path.open("rb") as stream:
        os.fsync(stream.fileno())


def fsync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary name beside `path`; fsynced and renamed to `path` when the block ends well, removed when it does not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield temporary
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        temporary.replace(path)
        fsync_directory(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes) -> None:
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
