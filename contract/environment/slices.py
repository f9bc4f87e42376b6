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
from pathlib import Path

SLICE_NS = 100_000  # the shortest that there is
LOWEST = 19  # nice value
_SCHED_SETATTR = {"x86_64": 314, "aarch64": 274}
_ATTRIBUTES = struct.Struct("=IIQiIQQQ")  # size, policy, flags, nice, priority, slice, and two of other policies


def shorten() -> None:
    """Ask for short slices for the threads of this process; what they start has them, too.

    A process of the lowest priority, which is there for nobody who waits, keeps long ones, and so does one of another policy.
    """
    call, nice = _SCHED_SETATTR.get(os.uname().machine), os.getpriority(os.PRIO_PROCESS, 0)
    if call is None or not hasattr(os, "SCHED_OTHER") or os.sched_getscheduler(0) != os.SCHED_OTHER or nice == LOWEST:
        return
    wanted = _ATTRIBUTES.pack(_ATTRIBUTES.size, os.SCHED_OTHER, 0, nice, 0, SLICE_NS, 0, 0)
    libc = ctypes.CDLL(None)
    for thread in Path("/proc/self/task").iterdir():
        libc.syscall(call, int(thread.name), wanted, 0)  # where it is forbidden, slices stay as they are


if __name__ == "__main__":
    shorten()
    os.execv(sys.argv[1], sys.argv[1:])  # noqa: S606
