"""`python -I -S enter.py UID COMMAND …`: take another identity, without any capability, and become the command.

It runs in the sandbox, before the server and without the project: standard library only. UID 0 keeps the identity, which is then that of
a user namespace.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_CAPBSET_DROP = 24
_MOST_CAPABILITIES = 64
_VERSION_3 = 0x20080522  # of capset(2)


def main(uid: int, command: list[str]) -> None:
    """Become the command as that user."""
    libc = ctypes.CDLL(None)
    for capability in range(_MOST_CAPABILITIES):
        libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    if uid:
        os.setgroups([])
        os.setresgid(uid, uid, uid)
        os.setresuid(uid, uid, uid)
    libc.capset((ctypes.c_uint32 * 2)(_VERSION_3, 0), (ctypes.c_uint32 * 6)())
    # Blocked by the launcher, so that it ends only the server, which drains, and none of the processes around it.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    os.execv(command[0], command)  # noqa: S606


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
