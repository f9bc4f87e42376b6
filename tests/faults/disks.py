"""Small file systems, for tests of full disks."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(path: Path, megabytes: int) -> Iterator[str | None]:
    """A file system of its own at a directory, until the context ends; gives the reason where none may be mounted."""
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False) if shutil.which("mount") else None
    if done is None or done.returncode:
        yield f"no file system may be mounted here: {done.stderr.strip() if done else 'there is no mount'}"
        return
    try:
        yield None
    finally:
        subprocess.run(["umount", str(path)], check=True)


@contextmanager
def needed(path: Path, megabytes: int) -> Iterator[Path]:
    """Make a directory with a small file system of its own; skip the test where none may be mounted."""
    path.mkdir()
    with small_disk(path, megabytes) as refused:
        if refused:
            pytest.skip(refused)
        yield path


@contextmanager
def read_only(path: Path) -> Iterator[None]:
    """Let nobody write below a directory on which a file system is mounted, until the context ends; files that are open stay writable."""
    subprocess.run(["mount", "--bind", str(path), str(path)], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", str(path)], check=True)
    try:
        yield
    finally:
        # A process that began meanwhile may be in there: it can write again, and keeps what it has open.
        subprocess.run(["mount", "-o", "remount,bind,rw", str(path)], check=True)
        subprocess.run(["umount", "--lazy", str(path)], check=True)
