"""Orphaned processes, found by marks in their environment, which children inherit (Linux)."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

FLEET_MARK = "BULKHEAD_FLEET"
PROGRAM_MARK = "BULKHEAD_PROGRAM"
CONTENT_MARK = "BULKHEAD_PROGRAM_DIGEST"
_POLL_S = 0.05


def marked(marks: dict[str, str]) -> set[int]:
    """Return the processes, except this one, whose environment has all these values; none where there is no /proc."""
    return set(_environments(marks))


def lives(process: int) -> bool:
    """Tell whether a process exists and has not ended; the environment of one that waits for its parent is empty."""
    with suppress(OSError):
        return bool(Path(f"/proc/{process}/environ").read_bytes())
    return False


def programs(marks: dict[str, str]) -> dict[str, set[int]]:
    """Return the marked processes by program; "" for those of none."""
    found: dict[str, set[int]] = {}
    for process, environment in _environments(marks).items():
        names = [
            entry.partition(b"=")[2].decode() for entry in environment if entry.startswith(f"{PROGRAM_MARK}=".encode())
        ]
        found.setdefault(names[0] if names else "", set()).add(process)
    return found


def end(marks: dict[str, str], patience_s: float) -> None:
    """End the marked processes: SIGTERM, and SIGKILL after `patience_s` seconds. Return when none is left."""
    deadline = time.monotonic() + patience_s
    send(marked(marks), signal.SIGTERM)
    while marked(marks) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    while left := marked(marks):
        send(left, signal.SIGKILL)  # repeatedly, since a process may fork before its end
        time.sleep(_POLL_S)


def send(processes: Iterable[int], number: int) -> None:
    """Send a signal to those that still live; a negative number is that of a process group."""
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, number)


def _environments(marks: dict[str, str]) -> dict[int, set[bytes]]:
    wanted = {f"{name}={value}".encode() for name, value in marks.items()}
    found = {}
    # Not `[0-9]*/environ`, for which pathlib asks whether each file is there, and fails for a process that ends just then.
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            environment = set((path / "environ").read_bytes().split(b"\0"))
            if wanted <= environment:
                found[int(path.name)] = environment
    found.pop(os.getpid(), None)
    return found
