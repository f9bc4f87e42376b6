"""The code that the fleet's own processes run: a program whose code has changed is another program, which `fleet up` starts."""

from __future__ import annotations

import hashlib
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path

from fleet.configuration.settings import PROJECT

_PACKAGES = ("contract", "fleet")
_DIGEST = "BULKHEAD_CODE_DIGEST"


def environment() -> Mapping[str, str]:
    """Return the environment of a process that runs this code."""
    found = {"PYTHONPATH": str(PROJECT), "PYTHONDONTWRITEBYTECODE": "1"}
    return found | {_DIGEST: digest([PROJECT / name for name in _PACKAGES])}


def digest(packages: Sequence[Path]) -> str:
    """Return a digest of all files in these packages, but what Python compiles, and of the versions that they run with."""
    # An installed package's folder has its version in its name.
    installed = sorted(path.name for path in Path(sysconfig.get_path("purelib")).glob("*.dist-info"))
    found = hashlib.sha256("\n".join([sys.version, *installed]).encode())
    for package in packages:
        for path in sorted(path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts):
            found.update(
                f"\n{path.relative_to(package.parent)}\n".encode() + hashlib.sha256(path.read_bytes()).digest()
            )
    return found.hexdigest()[:16]
