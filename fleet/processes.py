"""Processes that outlived whoever was to end them: found by the marks in their environment, which children inherit (Linux)."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

FLEET_MARK = "BULKHEAD_FLEET"
REPLICA_MARK = "BULKHEAD_REPLICA"
_POLL_S = 0.05


def marked(marks: dict[str, str]) -> set[int]:
    """The processes, but this one, whose environment has all these values; none where there is no /proc."""
    wanted = {f"{name}={value}".encode() for name, value in marks.items()}
    found = set()
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            if wanted <= set(path.read_bytes().split(b"\0")):
                found.add(int(path.parent.name))
    return found - {os.getpid()}


def end(marks: dict[str, str], patience_s: float) -> None:
    """End the marked processes: SIGTERM, and SIGKILL to what is left after `patience_s` seconds. Returns when none is left."""
    deadline = time.monotonic() + patience_s
    _signal(marked(marks), signal.SIGTERM)
    while marked(marks) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    while left := marked(marks):
        _signal(left, signal.SIGKILL)
        time.sleep(_POLL_S)


def _signal(processes: set[int], number: int) -> None:
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, number)
