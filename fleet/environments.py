"""The Python environment in which a bundle is served: found, or built from the lock that the bundle carries."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from contract.errors import BundleError, UnavailableError
from contract.files import sha256
from contract.manifest import Manifest
from fleet.settings import PROJECT

_INSTALLED = "installed.txt"  # in an environment that is complete: a copy of its lock


def python_for(bundle: Path, manifest: Manifest, root: Path, project: Path = PROJECT) -> Path:
    """The interpreter of an environment with exactly the packages of the bundle's lock.

    Args:
        root: where environments that are not the project's own `.venv/serving` are built and kept.

    Raises:
        BundleError: the manifest's lock is not in the bundle.
        UnavailableError: the packages cannot be had.
    """
    lock = bundle / manifest.environment["lock"]
    if not lock.is_file() or sha256(lock) != manifest.environment["lock_sha256"]:
        raise BundleError(f"{lock} is not the lock that the bundle's manifest names")
    digest = manifest.environment["lock_sha256"]
    ready_made = project / ".venv" / "serving"
    if (ready_made / _INSTALLED).is_file() and sha256(ready_made / _INSTALLED) == digest:
        return ready_made / "bin" / "python"
    environment = root / digest[:16]
    if not (environment / _INSTALLED).is_file():
        _build(lock, environment, _uv(project))
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
    shutil.copyfile(lock, environment / _INSTALLED)


def _uv(project: Path) -> str:
    own = project / ".venv" / "uv" / "bin" / "uv"
    found = str(own) if own.is_file() else shutil.which("uv")
    if not found:
        raise UnavailableError("uv is neither in .venv/uv nor on the PATH; `make up` installs it")
    return found
