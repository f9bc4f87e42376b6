"""The slice of the processor that a thread has: what `contract.environment.slices` asks for, read back from the kernel."""

from __future__ import annotations

import ctypes
import os

_SLICE = 3  # of the six words of 64 bits in struct sched_attr: `sched_runtime`


def slice_ns(thread: int = 0) -> int:
    """Return the slice that a thread has, in ns, and 0 where the kernel does not tell; thread 0: this one.

    Source: sched_getattr(2), of Linux 6.12 and later.
    """
    call = {"x86_64": 315, "aarch64": 275}.get(os.uname().machine)
    found = (ctypes.c_uint64 * 6)()
    if call is None or ctypes.CDLL(None).syscall(call, thread, found, ctypes.sizeof(found), 0):
        return 0
    return found[_SLICE]
