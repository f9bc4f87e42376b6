"""Projects for a drilled fleet, with environments that may be replaced."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from harness import PROJECT


def fleet_project(target: Path) -> Path:
    """Make a minimal copy of this project for a fleet, with a serving environment that may be replaced; return it."""
    for name in ("Makefile", "requirements/serving.txt", "requirements/excludes", "contract"):
        copy = shutil.copytree if (PROJECT / name).is_dir() else shutil.copy2
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        copy(PROJECT / name, target / name)
    (target / ".venv").mkdir()
    for name in ("fleet", "uv"):
        (target / ".venv" / name).symlink_to((PROJECT / ".venv" / name).resolve())
    serving = PROJECT / ".venv" / "serving"
    shutil.copytree(serving, target / ".venv" / "serving", symlinks=True, copy_function=os.link)
    return target
