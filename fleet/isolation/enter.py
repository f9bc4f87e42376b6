"""`python -I -S enter.py UID -m MODULE …`, or `-c SCRIPT …`: take another identity, without any capability, and run that.

It runs in the sandbox, before the server and without the project: standard library only. It goes on in the same interpreter, whose start
takes some milliseconds of a replica's. Nothing of the bundle or of its environment can be imported before the identity is taken (`-I -S`).
UID 0 keeps the identity, which is then that of a user namespace.
"""

from __future__ import annotations

import ctypes
import gc
import os
import runpy
import signal
import site
import sys

_PR_CAPBSET_DROP, _PR_SET_DUMPABLE = 24, 4
_MOST_CAPABILITIES = 64
_VERSION_3 = 0x20080522  # of capset(2)


def main(uid: int, command: list[str]) -> None:
    """Run the command as that user."""
    libc = ctypes.CDLL(None)
    for capability in range(_MOST_CAPABILITIES):
        libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)
    if uid:
        try:
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
        except OSError as error:  # in a user namespace that has no such user
            sys.exit(
                f"not started: root cannot become user {uid} here ({error.strerror}); run the fleet as an ordinary user"
            )
        libc.prctl(_PR_SET_DUMPABLE, 1, 0, 0, 0)  # else what is below /proc/self would stay root's
    if libc.capset((ctypes.c_uint32 * 2)(_VERSION_3, 0), (ctypes.c_uint32 * 6)()):
        sys.exit("not started: the capabilities of the sandbox's first process cannot be dropped")
    # Blocked by the launcher, so that it ends only the server, which drains, and none of the processes around it.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTERM])
    _run(*command)


def _run(option: str, what: str, *arguments: str) -> None:
    """Go on as `python -m` or `python -c`, with what `-I -S` left out: PYTHONPATH, and the packages of the environment."""
    sys.dont_write_bytecode = True  # nothing but the scratch directory can be written
    sys.path[:0] = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    site.main()
    gc.disable()  # as `contract.environment.pruning` does for a server without a sandbox, which turns it on once it has loaded
    sys.argv = [option, *arguments]
    if option == "-m":
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        exec(what, {"__name__": "__main__"})  # noqa: S102  # the command that the sandbox was made for


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
