"""Scratch directories for the duration of a command; the next command removes orphaned ones."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from contract.files import private_directory


@contextmanager
def directory(root: Path) -> Iterator[Path]:
    """Make a directory below `root`, readable by this user alone, until the block ends.

    Its user holds a lock on it, which ends with the process; an unlocked directory is orphaned.
    """
    private_directory(root)
    with _locked(root):
        for left in root.iterdir():
            if _is_abandoned(left):
                shutil.rmtree(left)
        scratch = Path(tempfile.mkdtemp(dir=root.absolute()))
        own = os.open(scratch, os.O_RDONLY)
        fcntl.flock(own, fcntl.LOCK_EX)
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch)
        os.close(own)


def _is_abandoned(scratch: Path) -> bool:
    try:
        with _locked(scratch, fcntl.LOCK_NB):
            return True
    except (BlockingIOError, FileNotFoundError):  # in use, or just removed by its own command
        return False


@contextmanager
def _locked(path: Path, more: int = 0) -> Iterator[None]:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | more)
        yield
    finally:
        os.close(descriptor)
