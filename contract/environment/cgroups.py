"""The directories in which this process may make cgroups, under cgroup v1, v2, or both at once.

They lie below this process's cgroup under v1, and beside it under v2, where a cgroup that has processes cannot have limited children.
Source: Linux, admin-guide/cgroup-v1/cgroups.rst and admin-guide/cgroup-v2.rst, "No Internal Process Constraint".
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

_PROCESS = Path("/proc/self")


class Place(NamedTuple):
    """The directory in which cgroups lie for one controller, and the version of its hierarchy, 1 or 2."""

    version: int
    directory: Path


def places(process: Path = _PROCESS) -> dict[str, Place]:
    """Return the place of cgroups by controller, `cpu` and `memory`, where the machine has them."""
    try:
        own = [line.split(":", 2) for line in (process / "cgroup").read_text().splitlines()]
        # Somebody's mount point may have a name that is not UTF-8.
        mounts = [_mount(line) for line in os.fsdecode((process / "mountinfo").read_bytes()).splitlines()]
    except OSError:
        return {}
    found: dict[str, Place] = {}
    for controller in ("cpu", "memory"):
        for kind, root, point, options in mounts:
            for _, names, path in own:
                inside = point / os.path.relpath(path, root)
                if ".." in inside.parts:  # another mount shows it
                    continue
                if kind == "cgroup" and controller in names.split(",") and controller in options:
                    found[controller] = Place(1, inside)
                elif kind == "cgroup2" and not names and controller not in found:
                    beside = inside if inside == point else inside.parent
                    if controller in words(beside / "cgroup.controllers"):
                        found[controller] = Place(2, beside)
    return found


def _mount(line: str) -> tuple[str, str, Path, list[str]]:
    """Return the file system, its root, the mount point and the options of the superblock. Source: proc_pid_mountinfo(5)."""
    mounted, _, system = line.partition(" - ")
    kind, _, options = system.split(" ", 2)
    root, point = mounted.split(" ")[3:5]
    return kind, root, Path(point), options.split(",")


def words(path: Path) -> list[str]:
    """Return the words of a file of the kernel; none if it cannot be read."""
    try:
        return path.read_text().split()
    except OSError:
        return []
