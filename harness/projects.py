"""Projects for a fleet of their own, whose environments may be replaced."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from harness import PROJECT


def fleet_project(target: Path) -> Path:
    """A project of its own for a fleet, whose serving environment may be replaced; it has no more of this one than that takes."""
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
