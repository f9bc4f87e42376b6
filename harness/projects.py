"""Projects for a drilled fleet, with environments that may be replaced."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from harness import PROJECT, files

# What training alone has: code, settings, data, environments and state, beside what the fleet has.
TRAINING = (
    "pipelines", "dags", "data", "models", "reports", "build", "dvc.yaml", "dvc.lock", "params.yaml", ".dvc",
    ".venv/pipeline", ".venv/orchestrator", "var/airflow", "var/runs", "var/checkpoints", "var/quarantine",
)  # fmt: skip
# What the fleet alone has. Envoy and supervisord lie in its environment.
FLEET = ("fleet", "bin/fleet", "bin/store", "bin/bundle", "bin/smoke", ".venv/fleet", "var/fleet")
_ENVIRONMENTS = ("fleet", "pipeline", "orchestrator", "uv")


def fleet_project(target: Path) -> Path:
    """Make a minimal copy of this project for a fleet, with a serving environment that may be replaced; return it."""
    for name in ("Makefile", "requirements/serving.txt", "requirements/excludes", "contract"):
        copy = shutil.copytree if (PROJECT / name).is_dir() else shutil.copy2
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        copy(PROJECT / name, target / name)
    _link_environments(target, ("fleet", "uv"))
    return target


def both_planes(target: Path) -> Path:
    """Make a copy of this project with all its code and environments, either plane of which may be taken away; return it."""
    for name in files():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(PROJECT / name, target / name)
    _link_environments(target, _ENVIRONMENTS)
    return target


def take_away(project: Path, names: Iterable[str], place: Path) -> list[str]:
    """Move files and directories of a project elsewhere; return those that were there."""
    taken = [name for name in names if (project / name).exists()]
    for name in taken:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).rename(place / name)
    return taken


def _link_environments(target: Path, names: Iterable[str]) -> None:
    """Link environments, and copy the one of replicas, which may be replaced, by hard links."""
    (target / ".venv").mkdir(exist_ok=True)
    for name in names:
        if (PROJECT / ".venv" / name).exists():
            (target / ".venv" / name).symlink_to((PROJECT / ".venv" / name).resolve())
    serving = PROJECT / ".venv" / "serving"
    shutil.copytree(serving, target / ".venv" / "serving", symlinks=True, copy_function=os.link)
