"""Months that were collected again because rows came late.

A partition is immutable: `dvc.lock` names it, and a run that begins with a committed one would go on with the old partition. So such
a month is remembered beside the runs, and later ones forget what `dvc.lock` says about it: DVC then takes the newest from its run cache.
"""

from __future__ import annotations

from pathlib import Path

from contract.files import atomic_path

_STAGE = "collect@"


def record(var: Path, month: str) -> None:
    """Remember the month."""
    path = _directory(var) / month
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def forget(lock: Path, var: Path) -> None:
    """Remove what a `dvc.lock` says about the collection of these months; it may not exist."""
    found = {f"{_STAGE}{path.name}" for path in _directory(var).glob("*")}
    if not found or not lock.is_file():
        return
    from ruamel.yaml import YAML

    yaml = YAML()
    document = yaml.load(lock.read_text(encoding="utf-8"))
    for stage in found & set(document["stages"]):
        del document["stages"][stage]
    with atomic_path(lock) as temporary:
        yaml.dump(document, temporary)


def targets(months: tuple[str, ...]) -> list[str]:
    """Return the stages that collect the months."""
    return [f"{_STAGE}{month}" for month in months]


def _directory(var: Path) -> Path:
    return var / "runs" / ".again"
