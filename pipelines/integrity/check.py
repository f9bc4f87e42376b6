"""Every byte that `dvc.lock` names, in the workspace, the cache and the remote; what decayed is healed from a good copy.

DVC itself trusts an object that lies in its cache: a flipped byte there is checked out without a word.
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

from contract.errors import Problem
from pipelines.integrity.objects import DIRECTORY, Object, Place, list_of, listed, md5_of, outputs


@dataclass
class Findings:
    """What was not as `dvc.lock` names it.

    Attributes:
        checked: number of files.
        healed: those that are right again, with the places where they were not.
        lost: those of which no good copy is left; the bad ones are removed, so that `dvc repro` makes them anew.
    """

    checked: int = 0
    healed: list[str] = field(default_factory=list)
    lost: list[Problem] = field(default_factory=list)


def check(root: Path) -> Findings:
    """Check and heal the DVC project in `root`: outputs in its workspace, their objects in its cache and in its default remote.

    Raises:
        UnavailableError: the remote does not answer; nothing is taken for lost.
    """
    places = _places(root)
    findings, stale = Findings(), []
    for path, oid in outputs(root / "dvc.lock").items():
        for entry in _objects(Object(oid, root / path), places):
            findings.checked += 1
            bad = [place for place in places if place.has(entry) and not place.is_intact(entry)]
            is_stale = _is_stale(entry, places)
            if bad or is_stale:
                is_whole = _heal(entry, bad, places, root)
                where = ", ".join([*(place.name for place in bad), *(["workspace"] if is_stale else [])])
                _record(entry.path.relative_to(root), where, is_whole, findings)
            if is_stale:
                entry.path.unlink()
                stale.append(entry.path)
    if stale:
        _check_out(stale, root)
    return findings


def cache_of(root: Path) -> Place:
    """Return the cache of the DVC project in `root`."""
    return _places(root)[0]


def _places(root: Path) -> list[Place]:
    """The cache, and the default remote where there is one."""
    from dvc.exceptions import DvcException
    from dvc.repo import Repo

    with Repo(str(root)) as repository:
        places = [Place("cache", repository.cache.local)]
        with suppress(DvcException):  # no remote is configured
            places.append(Place("remote", repository.cloud.get_remote_odb()))
    return places


def _objects(entry: Object, places: list[Place]) -> Iterator[Object]:
    """An output's object, and after it those of its directory; the files of a lost list are unknown."""
    yield entry
    if entry.is_list:
        holders = [place for place in places if place.has(entry) and place.is_intact(entry)]
        if holders:
            yield from listed(holders[0].read(entry), entry.path)


def _is_stale(entry: Object, places: list[Place]) -> bool:
    """Whether the workspace's file is another than the cache or the remote has under its name (outputs in git are in neither)."""
    if entry.is_list or not entry.path.is_file() or not any(place.has(entry) for place in places):
        return False
    return md5_of(entry.path) != entry.oid


def _heal(entry: Object, bad: list[Place], places: list[Place], root: Path) -> bool:
    """Put a good copy in the place of every bad one, or nothing where there is none; returns whether there is one."""
    scratch = root / ".dvc" / "tmp"
    scratch.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=scratch) as directory:
        intact = [place for place in places if place not in bad and place.has(entry)]
        good = _good_copy(entry, intact, Path(directory) / "copy")
        for place in bad:
            if good:
                place.replace(entry, good)
            else:
                place.remove(entry)
    return good is not None


def _good_copy(entry: Object, intact: list[Place], target: Path) -> Path | None:
    """The object's bytes as a file: from another place, or from the workspace, where a directory's list is made anew."""
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
        findings.healed.append(f"{path} ({where})")
    else:
        findings.lost.append(Problem(None, str(path), f"changed in {where}, and there is no good copy"))


def _check_out(paths: list[Path], root: Path) -> None:
    command = [sys.executable, "-m", "dvc", "checkout", "--quiet", "--force", *map(str, sorted(set(paths)))]
    subprocess.run(command, cwd=root, env=os.environ | {"PYTHONWARNINGS": "ignore"}, check=False)
