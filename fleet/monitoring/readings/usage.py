"""CPU time, memory and age of processes, from `/proc`."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from fleet.supervisor import processes

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class Process:
    """A process of the fleet.

    Attributes:
        program: its program under supervisord; "" for supervisord itself.
        parent: the key of its parent process.
        cpu_s: CPU seconds since it started, with those of its ended children.
        started_s: when it started, in seconds since boot.
    """

    program: str
    parent: str
    cpu_s: float
    resident_bytes: int = 0
    started_s: float = 0.0


Processes = Mapping[str, Process]


def read(root: Path) -> dict[str, Process]:
    """Return the fleet's processes by a key that no later process gets: the process id and its start."""
    stats = _stats()
    program_of = _programs(root, {pid: int(fields[1]) for pid, fields in stats.items()})
    return {
        _key(pid, stats): Process(
            program,
            _key(int(stats[pid][1]), stats),
            # utime, stime and those of the children that it has waited for. Source: proc(5).
            sum(map(int, stats[pid][11:15])) / _TICKS,
            int(stats[pid][21]) * _PAGE_BYTES,
            _started_s(stats[pid]),
        )
        for pid, program in program_of.items()
        if pid in stats
    }


def age_s(pid: int) -> float:
    """Return for how many seconds a process has been there, by a clock that nobody sets; 0 if it has ended."""
    fields = _fields(pid)
    return time.clock_gettime(time.CLOCK_BOOTTIME) - _started_s(fields) if fields else 0.0


def spent(before: Processes, after: Processes) -> dict[str, float]:
    """Return the CPU seconds between two readings, by program.

    A process that ended in between hands its time to the parent that waited for it, which therefore counts only what is new. One
    that lost its parent takes what it used since the first reading with it.
    """
    found: dict[str, float] = {}
    for key, process in after.items():
        earlier = before[key].cpu_s if key in before else 0.0
        found[process.program] = found.get(process.program, 0.0) + process.cpu_s - earlier
    for key, process in before.items():
        if key not in after and process.parent in after:
            # Counted by its parent now, from its start; the part before the first reading was counted then.
            parent = after[process.parent].program
            found[parent] -= process.cpu_s
    return {program: max(0.0, seconds) for program, seconds in found.items()}


def _programs(root: Path, parents: Mapping[int, int]) -> dict[int, str]:
    """Return the fleet's processes by program: those with its mark, and their descendants, which may have another environment."""
    marked = processes.programs({processes.FLEET_MARK: str(root)})
    found = {pid: program for program, pids in marked.items() for pid in pids}
    if os.environ.get(processes.FLEET_MARK) == str(root):
        found[os.getpid()] = os.environ.get(processes.PROGRAM_MARK, "")
    for pid in parents:
        above = [pid]
        while above[-1] not in found and parents.get(above[-1]):
            above.append(parents[above[-1]])
        if above[-1] in found:
            found |= dict.fromkeys(above, found[above[-1]])
    return found


def _stats() -> dict[int, list[str]]:
    """Return the fields of every process by its id."""
    found = {pid: _fields(pid) for pid in (int(path.name) for path in Path("/proc").glob("[0-9]*"))}
    return {pid: fields for pid, fields in found.items() if fields}


def _fields(pid: int) -> list[str]:
    """Return the fields of `/proc/<pid>/stat` after the name; none if the process has ended."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    return []


def _started_s(fields: list[str]) -> float:
    return int(fields[19]) / _TICKS  # since boot. Source: proc(5)


def _key(pid: int, stats: Mapping[int, list[str]]) -> str:
    return f"{pid}-{stats[pid][19]}" if pid in stats else ""
