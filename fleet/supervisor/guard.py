"""`python -m fleet.supervisor.guard SUPERVISORD SOCKET COMMAND …`: once supervisord ends, run a command until another one listens.

supervisord and the reconciler restart each other. Where both are killed within a second, this third process is left. It imports next to
nothing, since it does nothing but wait.
"""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import time
from contextlib import suppress

PREFIX = "guard-"  # of its mark, before the process id of its supervisord
START_LIMIT_S = 300.0  # a start that hangs holds the fleet's lock until it is killed
_GRACE_S = 2.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0


def main(supervisord: int, path: str, command: list[str]) -> None:
    """Wait, in the background, for the end of a process, and repair what it leaves."""
    if os.fork():
        return
    with suppress(ProcessLookupError):  # it has ended already
        select.select([os.pidfd_open(supervisord)], [], [])
    time.sleep(_GRACE_S)  # in which the reconciler, if it is there, has done so itself
    pause_s = _FIRST_PAUSE_S
    while not _listens(path):
        with suppress(subprocess.TimeoutExpired):
            subprocess.run(command, check=False, timeout=START_LIMIT_S)
        if not _listens(path):
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


def _listens(path: str) -> bool:
    with socket.socket(socket.AF_UNIX) as caller:
        return caller.connect_ex(path) == 0


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
