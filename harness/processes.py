"""Processes as the kernel sees them (Linux): trees, CPU time, memory; and starting one so that nothing of it outlives us.

Standard library only: load generators import this in environments that have nothing else of ours.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

TICK_S = 1 / os.sysconf("SC_CLK_TCK")
SERVER_CORE = 0
LOAD_CORE = 1
_STOP_LIMIT_S = 10


def parse_stat(text: str) -> tuple[int, float]:
    """Parent and CPU seconds of a `/proc/<pid>/stat`: user and system time of all its threads and of the children it waited for.

    Source: proc(5), fields 4 and 14 to 17; the name in field 2 may hold blanks and brackets.
    """
    fields = text.rpartition(")")[2].split()
    return int(fields[1]), sum(int(ticks) for ticks in fields[11:15]) * TICK_S


def descendants(root: int, parents: Mapping[int, int]) -> set[int]:
    """`root` and all that descend from it, where `parents` maps each process to its parent."""
    found = {root}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def tree(root: int) -> dict[int, float]:
    """CPU seconds by process, for `root` and its living descendants."""
    known = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            known[int(path.parent.name)] = parse_stat(path.read_text())
    family = descendants(root, {process: parent for process, (parent, _) in known.items()})
    return {process: known[process][1] for process in family if process in known}


def children(process: int) -> list[int]:
    """The children of a process's main thread."""
    return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def commands() -> dict[int, str]:
    """The command line of every process, its words parted by blanks."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            found[int(path.parent.name)] = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return found


def running_of(processes: Iterable[int]) -> set[int]:
    """Those of the processes that still run; a zombie does not."""
    found = set()
    for process in processes:
        with suppress(OSError):
            if Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
                found.add(process)
    return found


def cpu_seconds(root: int) -> float:
    """CPU time that a process tree has used so far."""
    return sum(tree(root).values())


def waited_seconds(root: int) -> float:
    """How long the main threads of a process tree were ready to run and had no core, so far. Source: Linux, scheduler/sched-stats."""
    waited = 0.0
    for process in tree(root):
        with suppress(OSError):
            waited += int(Path(f"/proc/{process}/schedstat").read_text().split()[1]) / 1e9
    return waited


def resident_bytes(process: int) -> int:
    """Resident memory of one process, pages that it shares with others included."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) * 1024


def resident_mb(root: int) -> float:
    """The same of a process and all below it, in MB."""
    return sum(map(resident_bytes, tree(root))) / 1e6


def pin(core: int) -> None:
    """Keep this process, and what it starts, on one core; on a machine that lacks this core, leave it as it is."""
    with suppress(OSError):
        os.sched_setaffinity(0, {core})


@contextmanager
def running(
    command: Sequence[str], *, cwd: Path, env: Mapping[str, str], log: Path, core: int | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a session of its own, its output in `log`, ended with all its descendants when the block ends."""
    # The child is started pinned: a server sizes its thread pools by the cores that it sees.
    before = os.sched_getaffinity(0)
    if core is not None:
        pin(core)
    try:
        with log.open("ab") as stream:
            process = subprocess.Popen(
                command,
                cwd=cwd,
                env=dict(env),
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=stream,
                start_new_session=True,
            )
    finally:
        os.sched_setaffinity(0, before)
    try:
        yield process
    finally:
        end(process)


@contextmanager
def busy(core: int, count: int) -> Iterator[None]:
    """So many programs that use all of a core that they can get, each in a session of its own, as the kernel shares it out."""
    with ExitStack() as stack:
        before = os.sched_getaffinity(0)
        pin(core)
        for _ in range(count):
            command = [sys.executable, "-c", "while True: pass"]
            hog = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
            stack.callback(hog.wait)
            stack.callback(hog.kill)
        os.sched_setaffinity(0, before)
        yield


def end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM to the process, and SIGKILL to all of its tree that is left some seconds later."""
    family = set(tree(process.pid))
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    _wait_until_gone(process, family)
    for member in running_of(family):
        with suppress(ProcessLookupError):
            os.kill(member, signal.SIGKILL)
    process.wait()
    _wait_until_gone(process, family)


def _wait_until_gone(process: subprocess.Popen[bytes], family: set[int]) -> None:
    deadline = time.monotonic() + _STOP_LIMIT_S
    while (process.poll() is None or running_of(family)) and time.monotonic() < deadline:
        time.sleep(0.02)
