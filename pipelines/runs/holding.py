"""The lock of a workspace: one attempt holds it at a time, and the next one ends what is left of those before it.

A frozen process (SIGSTOP, a paused container) keeps its lock, and would go on writing when it is woken, perhaps hours after its task was
given up and tried again. So a holder beats: it touches the lock file, and the next attempt ends one that has stopped beating.

A killed one leaves its stages writing. Every process of an attempt has the lock's path in its environment, by which the next one finds it.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

import psutil

from contract.errors import UnavailableError
from pipelines.machine import usage

MARK = "BULKHEAD_HELD"  # in the environment of all that an attempt starts
FROZEN_S = 60.0  # without a beat; far longer than a busy machine delays one
_BEAT_S = 2.0
_POLL_S = 0.2


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold the lock in this file until the block ends; wait for another holder, or end a frozen one, and end orphans.

    Raises:
        UnavailableError: the frozen holder is on another machine, or in another container, where it cannot be ended from here.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+") as stream:
        _acquire(stream)
        _end_orphans(str(path))
        stream.truncate(0)
        stream.write(json.dumps(_own()))
        stream.flush()
        over = threading.Event()
        beating = threading.Thread(target=_beat, args=(stream, over), daemon=True)
        beating.start()
        try:
            yield
        finally:
            over.set()
            beating.join()


def _beat(stream: TextIO, over: threading.Event) -> None:
    while not over.wait(_BEAT_S):
        os.utime(stream.fileno())


def _acquire(stream: TextIO) -> None:
    # By changes that are seen and not by their age: a clock may jump, and a suspended machine stands still with its holder.
    seen, since = None, time.monotonic()
    while not _locked(stream):
        beat = os.fstat(stream.fileno()).st_mtime_ns
        if beat != seen:
            seen, since = beat, time.monotonic()
        elif time.monotonic() - since >= FROZEN_S:
            stream.seek(0)
            _end(json.loads(stream.read() or "{}"), stream.name)
        time.sleep(_POLL_S)


def _locked(stream: TextIO) -> bool:
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _own() -> dict[str, Any]:
    return {"machine": _machine(), "pid": os.getpid(), "started": _started(psutil.Process())}


def _started(process: psutil.Process) -> float:
    """Return when a process was started, on Linux by what no set clock changes."""
    try:
        return usage.started_ticks(process.pid)
    except OSError:
        return float(process.create_time())


def _machine() -> str:
    """Return a text that only processes have in common that see each other's numbers: one boot, and one namespace of processes."""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    return os.uname().nodename


def _end(holder: dict[str, Any], lock: str) -> None:
    """Kill a frozen holder, which loses its lock by that; what it started are orphans then."""
    if holder.get("machine", _machine()) != _machine():
        raise UnavailableError(
            f"{lock} is held by process {holder['pid']} on another machine or in another container, which has given no sign of life for "
            f"{FROZEN_S:g} s: end it there, for it would go on writing"
        )
    with suppress(psutil.NoSuchProcess, KeyError):
        process = psutil.Process(holder["pid"])
        # By the clock in the records of earlier versions.
        if holder["started"] in (_started(process), process.create_time()):
            process.kill()


def _end_orphans(lock: str) -> None:
    """Kill all that earlier holders of this lock have started, frozen or not, before they write once more."""
    while orphans := [process for process in psutil.process_iter() if _is_marked(process, lock)]:
        for orphan in orphans:
            with suppress(psutil.NoSuchProcess):
                orphan.kill()
        time.sleep(_POLL_S)


def _is_marked(process: psutil.Process, lock: str) -> bool:
    try:
        return bool(process.environ().get(MARK) == lock and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:  # it has ended, or is another user's
        return False
