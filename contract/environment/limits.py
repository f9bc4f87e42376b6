"""The limits of a process that runs a bundle's code."""

from __future__ import annotations

import resource

_OPEN_FILES = 4096


def limit(memory_mb: int = 0) -> None:
    """Limit this process, and what it becomes: no core file, some open files, and where it is given, the memory."""
    limits = {
        resource.RLIMIT_CORE: 0,  # a core file would hold the process's memory
        resource.RLIMIT_NOFILE: _OPEN_FILES,
    }
    if memory_mb:
        # Not the address space, most of which is reserved and never used.
        limits[resource.RLIMIT_DATA] = memory_mb << 20
    for kind, most in limits.items():
        _, hard = resource.getrlimit(kind)
        least = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (least, least))
