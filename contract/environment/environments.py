"""The Python environment in which a bundle is served: by the digest of the lock that the bundle carries, never changed once made."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from contract.environment.pruning import prune
from contract.errors import BundleError, UnavailableError
from contract.files import sha256
from contract.store.place import disk_failure, hidden, rename_unless_there

_INSTALLED = "installed.txt"  # in an environment that is complete: a copy of its lock
_UV_LOCK = ".lock"  # which everybody can write to; nothing is installed any more that needs it


def python_for(lock: Path, digest: str, root: Path, beside: Path = Path(sys.prefix).parent) -> Path:
    """The interpreter of an environment with exactly the packages of a bundle's lock.

    Args:
        digest: SHA-256 of the lock, as the bundle's manifest has it.
        root: where environments are kept, by the lock's digest; one that is not there yet is made.
        beside: where this process's own environment lies; a `serving` there that has this lock is copied, otherwise one is built.

    Raises:
        BundleError: the lock is not there, or another one.
        UnavailableError: the packages cannot be had, or the disk fails.
    """
    if not lock.is_file() or sha256(lock) != digest:
        raise BundleError(f"{lock} is not the lock that the bundle's manifest names")
    environment = (root / digest).absolute()
    try:
        if not environment.is_dir():
            with hidden(environment.parent) as made:
                if not _copied(beside / "serving", digest, made):
                    _build(lock, made, _uv(beside))
                os.sync()  # a name that outlives a power cut stands for files that do, too: nothing looks at them again
                rename_unless_there(made, environment)
    except OSError as error:
        raise disk_failure(error, "make a serving environment", str(root)) from error
    return environment / "bin" / "python"


def _copied(source: Path, digest: str, target: Path) -> bool:
    """Whether `source` has that lock and is copied now, by hard links where it can be: files in environments are replaced, not changed.

    `make` puts another environment in its place by a rename: a lock that is still there afterwards speaks for what was copied.
    """
    if not _has_lock(source, digest):
        return False
    try:
        shutil.copytree(source, target, symlinks=True, copy_function=_link, ignore=shutil.ignore_patterns(_UV_LOCK))
    except shutil.Error:
        if _has_lock(source, digest):
            raise
    if _has_lock(source, digest):
        return True
    shutil.rmtree(target)
    return False


def _has_lock(environment: Path, digest: str) -> bool:
    installed = environment / _INSTALLED
    return installed.is_file() and sha256(installed) == digest


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system, or another user's file
        shutil.copy2(source, target)


def _build(lock: Path, environment: Path, uv: str) -> None:
    for command in (
        [uv, "venv", "--quiet", "--relocatable", str(environment)],
        [uv, "pip", "install", "--quiet", "--require-hashes", "--python", str(environment), "-r", str(lock)],
    ):
        done = subprocess.run(
            command,
            env=os.environ | {"UV_COMPILE_BYTECODE": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise UnavailableError(f"the serving environment of {lock} cannot be built:\n{done.stdout}{done.stderr}")
    prune(environment)
    (environment / _UV_LOCK).unlink(missing_ok=True)
    shutil.copyfile(lock, environment / _INSTALLED)


def _uv(beside: Path) -> str:
    own = beside / "uv" / "bin" / "uv"
    found = str(own) if own.is_file() else shutil.which("uv")
    if not found:
        raise UnavailableError(f"uv is neither in {own.parent} nor on the PATH; `make up` installs it")
    return found
