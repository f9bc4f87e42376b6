"""Commands in process groups of their own, so that no child outlives this process.

The stage of a killed `dvc` would go on writing.
"""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import IO, Any

from contract.errors import ConfigurationError

_PR_SET_PDEATHSIG = 1
_STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class _StoppedError(Exception):
    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.exit_code = 128 + number


def run_group(
    command: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    grace_s: float = 10.0,
    read: Callable[[str], None] | None = None,
) -> int:
    """Run a command in a process group of its own, kill the rest of the group, and return the command's exit code.

    SIGTERM, SIGINT and SIGHUP are passed on to the group as SIGTERM, followed by SIGKILL after `grace_s` seconds; the exit code is then
    128 plus the signal's number.

    Args:
        read: is called in another thread with each line of output, errors among them, which is printed too.

    Raises:
        ConfigurationError: there is no such program.
    """
    process: subprocess.Popen[bytes] | None = None
    reader: threading.Thread | None = None
    early: list[int] = []  # signals that arrived before the process was started

    def stop(number: int, _frame: FrameType | None) -> None:
        if process is not None:
            raise _StoppedError(number)
        early.append(number)

    previous = {number: signal.signal(number, stop) for number in _STOPPING}
    try:
        piped: dict[str, Any] = {} if read is None else {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        try:
            process = subprocess.Popen(command, cwd=cwd, env=dict(env), start_new_session=True, **piped)
        except FileNotFoundError as error:
            raise ConfigurationError(f"there is no program {error.filename}; name one that is installed") from error
        if read and process.stdout:
            reader = threading.Thread(target=_pass_on, args=(process.stdout, read), daemon=True)
            reader.start()
        if early:
            raise _StoppedError(early[0])
        code = process.wait()
    except _StoppedError as stopped:
        code = stopped.exit_code
    finally:
        for number in _STOPPING:
            signal.signal(number, signal.SIG_IGN)
        if process is not None:
            _end_group(process, grace_s)
        if reader is not None:
            reader.join(grace_s)  # a process that has left the group may hold the pipe for ever
        for number, handler in previous.items():
            signal.signal(number, handler)
    return code if code >= 0 else 128 - code


def _pass_on(output: IO[bytes], read: Callable[[str], None]) -> None:
    with output:
        for raw in output:
            line = raw.decode(errors="backslashreplace")
            print(line, end="", flush=True)
            read(line)


def die_with_parent() -> None:
    """Ask the kernel for a SIGTERM when the parent dies, even by kill -9 (Linux only)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _end_group(process: subprocess.Popen[bytes], grace_s: float) -> None:
    deadline = time.monotonic() + grace_s
    _signal_group(process.pid, signal.SIGTERM)
    while _signal_group(process.pid, 0) and time.monotonic() < deadline:  # signal 0 only tests whether the group exists
        process.poll()  # reaps the leader, whose zombie would keep the group alive
        time.sleep(0.05)
    _signal_group(process.pid, signal.SIGKILL)
    process.wait()


def _signal_group(group: int, number: int) -> bool:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    return True
