"""Serving environments, named by the digest of the bundle's lock and immutable once built."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from contract.environment.pruning import prune
from contract.errors import BundleError, UnavailableError
from contract.files import sha256
from contract.store.place import disk_failure, hidden, rename_unless_there

_INSTALLED = "installed.txt"  # a copy of the lock, in a complete environment
_UV_LOCK = ".lock"  # uv's, with mode 0666; nothing needs it once the environment is complete


def python_for(lock: Path, digest: str, root: Path, beside: Path = Path(sys.prefix).parent) -> Path:
    """Return the interpreter of an environment with exactly the packages of a bundle's lock.

    Args:
        digest: SHA-256 of the lock in the bundle's manifest.
        root: directory of environments by the lock's digest; a missing one is built.
        beside: directory of this process's own environment; a `serving` there with this lock is copied instead of a build.

    Raises:
        BundleError: the lock is missing or has another digest.
        UnavailableError: the packages cannot be installed, or the disk fails.
    """
    if not lock.is_file() or sha256(lock) != digest:
        raise BundleError(f"{lock} is missing, or has another digest than in the bundle's manifest")
    environment = (root / digest).absolute()
    try:
        if not environment.is_dir():
            with hidden(environment.parent) as made:
                if not _copied(beside / "serving", digest, made):
                    _build(lock, made, _uv(beside))
                os.sync()  # nobody checks the files again, so they must reach the disk before their name does
                rename_unless_there(made, environment)
        with suppress(OSError):  # another user's, or a read-only disk
            os.utime(environment)  # its age is the time since its last use, for who removes those that nobody needs
    except OSError as error:
        raise disk_failure(error, "make a serving environment", str(root)) from error
    return environment / "bin" / "python"


def _copied(source: Path, digest: str, target: Path) -> bool:
    """Copy an environment if it has that lock; return whether it did.

    Hard links suffice where possible, since files in environments are replaced and never changed. `make` replaces a whole environment by
    a rename, so the lock is checked again after the copy.
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
            raise UnavailableError(f"cannot build the serving environment of {lock}:\n{done.stdout}{done.stderr}")
    prune(environment)
    (environment / _UV_LOCK).unlink(missing_ok=True)
    shutil.copyfile(lock, environment / _INSTALLED)


def _uv(beside: Path) -> str:
    own = beside / "uv" / "bin" / "uv"
    found = str(own) if own.is_file() else shutil.which("uv")
    if not found:
        raise UnavailableError(f"uv is neither in {own.parent} nor on the PATH; `make up` installs it")
    return found
