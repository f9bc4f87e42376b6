"""The cgroups that this process may make, under cgroup v1, v2, or both at once.

They lie below this process's cgroup under v1, and beside it under v2, where a cgroup that has processes cannot have limited children.
Source: Linux, admin-guide/cgroup-v1/cgroups.rst and admin-guide/cgroup-v2.rst, "No Internal Process Constraint".
"""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import NamedTuple

_PROCESS = Path("/proc/self")
_SESSIONS = Path("/run/user")  # a directory for each user who has a systemd of their own


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


def group(place: Place, controller: str, name: str) -> Path:
    """Make a cgroup with a controller, if there is none, and return its directory; under v2 its processes go into cgroups below it.

    These keep the controller on: systemd turns off what no unit of its own asks for, unless a cgroup below uses it.

    Raises:
        OSError: this user may not make one here, or the kernel allows none.
    """
    directory = place.directory / name
    if place.version == 1:
        directory.mkdir(exist_ok=True)
        return directory
    if not os.access(place.directory / "cgroup.procs", os.W_OK):  # moving a process takes it
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    # The root of all, which may have both, lacks the first file.
    if (place.directory / "cgroup.type").exists() and words(place.directory / "cgroup.procs"):
        raise OSError(
            errno.EBUSY, "it has processes of its own, as a container's has, so that none below it can be limited"
        )
    _enable(place.directory, controller)
    directory.mkdir(exist_ok=True)
    _enable(directory, controller)
    return directory


def _enable(directory: Path, controller: str) -> None:
    switches = directory / "cgroup.subtree_control"
    if controller not in words(switches):
        switches.write_text(f"+{controller}")


def reason(place: Place, error: OSError) -> str:
    """Return why no cgroup could be made or limited in a place, and what helps, in one line."""
    is_refused = place.version == 2 and isinstance(error, PermissionError) and os.geteuid() != 0
    has_systemd = shutil.which("systemd-run") and (_SESSIONS / str(os.geteuid())).exists()
    advice = "; start it by `systemd-run --user --scope`" if is_refused and has_systemd else ""
    return f"{place.directory}: {error.strerror}{advice}"


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
