"""The lock of a fleet: one command at a time."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from contract.errors import UnavailableError
from contract.files import private_directory

LIMIT_S = 600.0  # a command may build an environment, and start many replicas
_POLL_S = 0.1


class BusyError(UnavailableError):
    """Another command runs."""


@contextmanager
def exclusive(root: Path, tell: Callable[[str], None], limit_s: float = LIMIT_S) -> Iterator[None]:
    """Hold the lock of the fleet in `root`, which is made if need be; `tell` gets a line if that has to wait.

    Raises:
        BusyError: another command has held it for `limit_s`.
    """
    private_directory(root)
    # Not truncated at the opening: while it waits, a command names the holder by the process id in the file.
    with (root / "lock").open("a+") as stream:
        _take(stream, tell, limit_s)
        stream.truncate(0)
        print(os.getpid(), file=stream, flush=True)
        yield


def _take(lock: IO[str], tell: Callable[[str], None], limit_s: float) -> None:
    deadline = time.monotonic() + limit_s
    told = False
    while True:
        try:
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            other = f"another command of this fleet, process {lock.read().strip()},"
            if time.monotonic() >= deadline:
                raise BusyError(f"{other} did not end within {limit_s:g} s") from error
        if not told:
            tell(f"waiting for {other} to end")
        told = True
        time.sleep(_POLL_S)
