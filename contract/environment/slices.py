"""Short slices of the processor, for what answers requests. `python -m contract.environment.slices COMMAND …` runs a command with them.

What computes keeps its core until the kernel's next tick, for some milliseconds, and a process that was sent a request waits meanwhile. One
that asks for shorter slices than the other goes first, as long as it has had less than its share of the time; nobody's share changes,
and everybody may ask. Kernels before Linux 6.12 ignore it.

Source: sched_setattr(2), for SCHED_OTHER; Linux, kernel/sched/fair.c, PREEMPT_SHORT.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from contextlib import suppress
from pathlib import Path

SLICE_NS = 100_000  # the shortest that there is
LOWEST = 19  # nice value
_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}
_ATTRIBUTES = struct.Struct("=IIQiIQQQ")  # size, policy, flags, nice, priority, slice, and two of other policies


def shorten() -> None:
    """Ask for short slices for the threads of this process; what they start has them, too.

    A thread of the lowest priority, which is there for nobody who waits, keeps long ones, and so does one of another policy.
    """
    call = _SCHED_SETATTR.get(os.uname().machine)
    if call is None or not hasattr(os, "SCHED_OTHER"):
        return
    libc = ctypes.CDLL(None)
    with suppress(OSError):  # where it is forbidden, or a thread ends, slices stay as they are
        for thread in [int(task.name) for task in Path("/proc/self/task").iterdir()]:
            nice = os.getpriority(os.PRIO_PROCESS, thread)
            if os.sched_getscheduler(thread) == os.SCHED_OTHER and nice < LOWEST:
                wanted = _ATTRIBUTES.pack(_ATTRIBUTES.size, os.SCHED_OTHER, 0, nice, 0, SLICE_NS, 0, 0)
                libc.syscall(call, thread, wanted, 0)


if __name__ == "__main__":
    shorten()
    os.execv(sys.argv[1], sys.argv[1:])  # noqa: S606
