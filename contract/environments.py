"""The Python environment in which a bundle is served: found, or built from the lock that the bundle carries."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from contract.errors import BundleError, UnavailableError
from contract.files import sha256
from contract.pruning import prune

_INSTALLED = "installed.txt"  # in an environment that is complete: a copy of its lock


def python_for(lock: Path, digest: str, root: Path, beside: Path = Path(sys.prefix).parent) -> Path:
    """The interpreter of an environment with exactly the packages of a bundle's lock.

    Args:
        digest: SHA-256 of the lock, as the bundle's manifest has it.
        root: where environments are built and kept, by the lock's digest.
        beside: where this process's own environment lies; a `serving` there that has this lock is taken.

    Raises:
        BundleError: the lock is not there, or another one.
        UnavailableError: the packages cannot be had.
    """
    if not lock.is_file() or sha256(lock) != digest:
        raise BundleError(f"{lock} is not the lock that the bundle's manifest names")
    ready_made = beside / "serving"
    if (ready_made / _INSTALLED).is_file() and sha256(ready_made / _INSTALLED) == digest:
        return ready_made / "bin" / "python"
    environment = (root / digest[:16]).absolute()
    if not (environment / _INSTALLED).is_file():
        _build(lock, environment, _uv(beside))
    return environment / "bin" / "python"


def _build(lock: Path, environment: Path, uv: str) -> None:
    """Complete only when the copy of its lock is in it."""
    shutil.rmtree(environment, ignore_errors=True)
    environment.parent.mkdir(parents=True, exist_ok=True)
    for command in (
        [uv, "venv", "--quiet", str(environment)],
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
    shutil.copyfile(lock, environment / _INSTALLED)


def _uv(beside: Path) -> str:
    own = beside / "uv" / "bin" / "uv"
    found = str(own) if own.is_file() else shutil.which("uv")
    if not found:
        raise UnavailableError(f"uv is neither in {own.parent} nor on the PATH; `make up` installs it")
    return found
