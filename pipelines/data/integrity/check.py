"""Check of every file in `dvc.lock`, in workspace, cache and remote; a corrupt one is repaired from a good copy.

DVC itself trusts the objects in its cache: it checks out a flipped byte without a warning.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from contract.errors import Problem, UnavailableError
from pipelines.data.integrity.objects import DIRECTORY, Object, Place, list_of, listed, md5_of, outputs


@dataclass
class Findings:
    """The result of a check.

    Attributes:
        checked: number of files.
        repaired: repaired files, with the places where they were corrupt.
        lost: files without a good copy; the corrupt ones are removed, so that `dvc repro` computes them again.
    """

    checked: int = 0
    repaired: list[str] = field(default_factory=list)
    lost: list[Problem] = field(default_factory=list)


def check(root: Path, *, remote: bool = True) -> Findings:
    """Check and repair the outputs of the DVC project in `root`: workspace, cache and default remote.

    Args:
        remote: false to take good copies from the remote without checking all that it holds.

    Raises:
        UnavailableError: the remote does not answer; no file counts as lost.
    """
    findings, stale = Findings(), []
    found = _outputs(root, findings)
    if not found:
        return findings  # without an import of DVC, which takes longer than some runs that have nothing to do
    places = places_of(root)
    checked = places if remote else places[:1]
    for path, oid in found.items():
        for entry in _objects(Object(oid, root / path), places):
            findings.checked += 1
            bad = [place for place in checked if place.has(entry) and not place.is_intact(entry)]
            is_stale = _is_stale(entry, places)
            if bad or is_stale:
                is_whole = _repair(entry, bad, places, root)
                where = ", ".join([*(place.name for place in bad), *(["workspace"] if is_stale else [])])
                _record(entry.path.relative_to(root), where, is_whole, findings)
            if is_stale:
                entry.path.unlink()
                stale.append(entry.path)
    if stale:
        _check_out(stale, root)
    return findings


def _outputs(root: Path, findings: Findings) -> dict[Path, str]:
    """Return the outputs in `dvc.lock`; put a torn one aside, with which DVC would refuse every command."""
    lock = root / "dvc.lock"
    try:
        return outputs(lock)
    except UnavailableError:
        aside = root / ".dvc" / "tmp" / "dvc.lock.torn"
        aside.parent.mkdir(exist_ok=True)
        lock.replace(aside)
        findings.repaired.append(
            f"dvc.lock (torn; put aside to {aside.relative_to(root)}, and written again by `dvc repro`)"
        )
        return {}


def content_of(entry: Object, places: list[Place]) -> bytes | None:
    """Return the content of an object from the first place that has it intact; None if none has."""
    return next((place.read(entry) for place in places if place.has(entry) and place.is_intact(entry)), None)


def cache_of(root: Path) -> Place:
    """Return the cache of the DVC project in `root`."""
    return places_of(root)[0]


def places_of(root: Path) -> list[Place]:
    """Return the cache of the DVC project in `root`, and its default remote if there is one."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    with Repo(str(root)) as repository:
        places = [Place("cache", repository.cache.local)]
        with suppress(DvcException):  # no remote is configured
            places.append(Place("remote", repository.cloud.get_remote_odb()))
    return places


def _objects(entry: Object, places: list[Place]) -> Iterator[Object]:
    """Yield an output's object, then those of its directory; the files of a lost list are unknown."""
    yield entry
    if entry.is_list:
        holders = [place for place in places if place.has(entry) and place.is_intact(entry)]
        if holders:
            yield from listed(holders[0].read(entry), entry.path)


def _is_stale(entry: Object, places: list[Place]) -> bool:
    """Return whether the workspace's file differs from its object; outputs in git have no object."""
    if entry.is_list or not entry.path.is_file() or not any(place.has(entry) for place in places):
        return False
    return md5_of(entry.path) != entry.oid


def _repair(entry: Object, bad: list[Place], places: list[Place], root: Path) -> bool:
    """Replace every corrupt object by a good copy, or remove it if there is none; return whether there is one."""
    scratch = root / ".dvc" / "tmp"
    scratch.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=scratch) as directory:
        intact = [place for place in places if place not in bad and place.has(entry) and place.is_intact(entry)]
        good = _good_copy(entry, intact, Path(directory) / "copy")
        for place in bad:
            if good:
                place.replace(entry, good)
            else:
                place.remove(entry)
    return good is not None


def _good_copy(entry: Object, intact: list[Place], target: Path) -> Path | None:
    """Write the object's bytes to `target` from another place or the workspace, or return None.

    A directory's list is computed from the workspace.
    """
    if intact:
        target.write_bytes(intact[0].read(entry))
        return target
    if entry.is_list and entry.path.is_dir():
        target.write_bytes(list_of(entry.path))
        return target if md5_of(target) + DIRECTORY == entry.oid else None
    if entry.path.is_file() and md5_of(entry.path) == entry.oid:
        target.write_bytes(entry.path.read_bytes())
        return target
    return None


def _record(path: Path, where: str, is_whole: bool, findings: Findings) -> None:
    if is_whole:
        findings.repaired.append(f"{path} ({where})")
    else:
        findings.lost.append(Problem(None, str(path), f"corrupt in {where}, without a good copy"))


def _check_out(paths: list[Path], root: Path) -> None:
    command = [sys.executable, "-m", "dvc", "checkout", "--quiet", "--force", *map(str, sorted(set(paths)))]
    subprocess.run(command, cwd=root, env=os.environ | {"PYTHONWARNINGS": "ignore"}, check=False)
