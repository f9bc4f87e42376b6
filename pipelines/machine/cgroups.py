"""The cgroup of training: a low share of the CPU and a memory limit, under cgroup v1, v2, or both at once.

<place>/bulkhead-training        has the share and the limit, for all training of this machine together
<place>/bulkhead-training/<pid>  one process with its children, so that the kernel's count of kills for want of memory is its own

Source: Linux, admin-guide/cgroup-v1/memory.rst and admin-guide/cgroup-v2.rst.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from contract.environment.cgroups import Place, group, places, reason

NAME = "bulkhead-training"
IDLE = 0  # a weight: only the time that nobody else wants
_PROCESS = Path("/proc/self")
_NORMAL_SHARES, _LEAST_SHARES = 1024, 2  # of v1; what every cgroup has, and the least there is
_TRIES = 5


@dataclass(frozen=True)
class Limits:
    """The limits of training.

    Attributes:
        weight: share of the CPU beside others, which have 100; `IDLE` for what they leave, None for an equal share.
        memory_bytes: of all training together; None for no limit.
    """

    weight: int | None
    memory_bytes: int | None


@dataclass(frozen=True)
class Membership:
    """The cgroups made for one process; `missing` has a reason for each of `cpu` and `memory` that cannot be limited."""

    leaves: tuple[Path, ...]
    missing: Mapping[str, str]

    def join(self, process: int) -> None:
        """Move a process there; its later children follow it."""
        for leaf in self.leaves:
            (leaf / "cgroup.procs").write_text(str(process))

    def killed_for_memory(self) -> bool:
        """Tell whether the kernel killed one of its processes at the limit."""
        counts = [leaf / name for leaf in self.leaves for name in ("memory.oom_control", "memory.events")]
        lines = [line.split() for path in counts if path.exists() for line in path.read_text().splitlines()]
        return any(name == "oom_kill" and int(count) for name, count in lines)

    def remove(self) -> None:
        """Remove what is empty: the own cgroups, and the common one unless others train."""
        for leaf in self.leaves:
            _remove(leaf)
            _remove(leaf.parent)


def is_inside() -> bool:
    """Tell whether this process is in a cgroup of training already."""
    with suppress(FileNotFoundError):
        return f"/{NAME}/" in (_PROCESS / "cgroup").read_text()
    return False


def make(limits: Limits, name: str, process: Path = _PROCESS) -> Membership:
    """Make the cgroups for a process, as far as this machine allows it.

    Args:
        name: of its own cgroup: the number of a process that lives as long.
        process: a directory as in /proc.
    """
    found = places(process)
    wanted = [("cpu", limits.weight), ("memory", limits.memory_bytes)]
    leaves: dict[Path, None] = {}  # in order, once each: under v2 both controllers have one cgroup
    missing = {}
    for controller, value in wanted:
        if value is None:
            continue
        place = found.get(controller)
        if place is None:
            missing[controller] = f"no cgroup file system with the controller {controller}"
            continue
        try:
            leaves[_made(place, controller, value, name)] = None
        except OSError as error:
            missing[controller] = reason(place, error)
    return Membership(tuple(leaves), missing)


def _made(place: Place, controller: str, value: int, name: str) -> Path:
    write = {1: _write_v1, 2: _write_v2}[place.version]
    for left in range(_TRIES - 1, -1, -1):
        try:
            common = group(place, controller, NAME)
            write(common, controller, value)
            for other in common.iterdir():
                if other.is_dir() and not Path("/proc", other.name).exists():
                    _remove(other)  # a killed process could not
            leaf = common / name
            leaf.mkdir(exist_ok=True)
            return leaf
        except FileNotFoundError:  # another process that ended has just removed the common one
            if not left:
                raise
    raise AssertionError("unreachable")


def _write_v1(common: Path, controller: str, value: int) -> None:
    if controller == "memory":
        (common / "memory.swappiness").write_text("0")
        (common / "memory.limit_in_bytes").write_text(str(value))
        return
    shares = max(_LEAST_SHARES, value * _NORMAL_SHARES // 100)
    _write_share(common, value, lambda: (common / "cpu.shares").write_text(str(shares)))


def _write_v2(common: Path, controller: str, value: int) -> None:
    if controller == "memory":
        (common / "memory.max").write_text(str(value))
        with suppress(FileNotFoundError, PermissionError):  # a kernel without swap lacks the file
            (common / "memory.swap.max").write_text("0")
        return
    _write_share(common, value, lambda: (common / "cpu.weight").write_text(str(max(1, value))))


def _write_share(common: Path, value: int, write_weight: Callable[[], object]) -> None:
    idle = common / "cpu.idle"  # from Linux 5.15 on; an idle cgroup refuses a weight
    if idle.exists():
        idle.write_text("1" if value == IDLE else "0")
    if value != IDLE or not idle.exists():
        write_weight()


def _remove(directory: Path) -> None:
    with suppress(OSError):  # busy, or gone
        directory.rmdir()
