"""Processes as the kernel sees them (Linux): trees, CPU time, memory; and starting one that leaves no orphans.

Standard library only: load generators import this in environments that have nothing else of ours.
"""

from __future__ import annotations

import os
import select
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
    """Return parent and CPU seconds of a `/proc/<pid>/stat`: user and system time of its threads and of the children it waited for.

    Source: proc(5), fields 4 and 14 to 17; the name in field 2 may hold blanks and brackets.
    """
    fields = text.rpartition(")")[2].split()
    return int(fields[1]), sum(int(ticks) for ticks in fields[11:15]) * TICK_S


def descendants(root: int, parents: Mapping[int, int]) -> set[int]:
    """Return `root` and its descendants; `parents` maps each process to its parent."""
    found = {root}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def tree(root: int) -> dict[int, float]:
    """Return CPU seconds by process, for `root` and its living descendants."""
    known = {}
    for path in Path("/proc").glob("[0-9]*"):  # not `[0-9]*/stat`, which fails where a process ends just then
        with suppress(OSError):
            known[int(path.name)] = parse_stat((path / "stat").read_text())
    family = descendants(root, {process: parent for process, (parent, _) in known.items()})
    return {process: known[process][1] for process in family if process in known}


def children(process: int) -> list[int]:
    """Return the children of a process's main thread."""
    return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]


def commands() -> dict[int, str]:
    """Return the command line of every process, its words separated by blanks."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            found[int(path.name)] = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return found


def running_of(processes: Iterable[int]) -> set[int]:
    """Return those of the processes that still run; a zombie does not."""
    found = set()
    for process in processes:
        with suppress(OSError):
            if Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
                found.add(process)
    return found


def is_leader(process: int) -> bool:
    """Tell whether a process leads its group; False of one that has just ended."""
    try:
        return os.getpgid(process) == process
    except ProcessLookupError:
        return False


def cpu_seconds(root: int) -> float:
    """Return the CPU time used so far by a process tree."""
    return sum(tree(root).values())


def own_cpu_seconds(process: int) -> float:
    """Return the CPU time of one process, and of its children that have ended; 0 if it has ended itself."""
    try:
        return parse_stat(Path(f"/proc/{process}/stat").read_text())[1]
    except OSError:
        return 0.0


def waited_seconds(root: int) -> float:
    """Return how long a process tree's main threads have waited for a core, in seconds. Source: Linux, scheduler/sched-stats."""
    waited = 0.0
    for process in tree(root):
        with suppress(OSError):
            waited += int(Path(f"/proc/{process}/schedstat").read_text().split()[1]) / 1e9
    return waited


def resident_bytes(process: int) -> int:
    """Return the resident memory of one process, shared pages included."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) * 1024


def resident_mb(root: int) -> float:
    """Return the resident memory of a process tree, in MB."""
    return sum(map(resident_bytes, tree(root))) / 1e6


def pin(core: int) -> None:
    """Keep this process, and its children, on one core; do nothing on a machine that lacks the core."""
    with suppress(OSError):
        os.sched_setaffinity(0, {core})


@contextmanager
def running(
    command: Sequence[str], *, cwd: Path, env: Mapping[str, str], log: Path, core: int | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process in a session of its own, its output in `log`; end it with its descendants at the end of the block."""
    # Pin before the start: a server sizes its thread pools by the cores that it sees.
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
    """Run programs that use all they can get of a core, each in a session of its own: the kernel shares a core by session."""
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
    """Send SIGTERM to the process, and after some seconds SIGKILL to the rest of its tree."""
    # Before SIGTERM: the children of an ended process are no descendants of it any more.
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


def kill(pids: Iterable[int], limit_s: float = 10.0) -> None:
    """Kill processes (SIGKILL); return when all their threads have ended, and so their sockets are closed.

    Raises:
        TimeoutError: one has not ended in time.
    """
    handles = []
    for pid in pids:
        with suppress(ProcessLookupError):  # it has ended already
            handles.append(os.pidfd_open(pid))
    try:
        for handle in handles:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, signal.SIGKILL)
        for handle in handles:
            if not select.select([handle], [], [], limit_s)[0]:
                raise TimeoutError(f"a killed process has not ended within {limit_s:g} s")
    finally:
        for handle in handles:
            os.close(handle)
