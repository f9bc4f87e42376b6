"""What the connections of one server share, whichever protocol they speak: how many there may be, what they hold, and one timer."""

from __future__ import annotations

import resource
from time import perf_counter
from typing import Any, Protocol

from bentos.core import Limits

# Connections beyond the bound that may ask for health, one request each; and descriptors for all that is no connection.
SPARE_CONNECTIONS = 64
_OTHER_DESCRIPTORS = 256
_PROTOCOLS = 2  # HTTP and gRPC have as many connections each
_BODIES_AT_ONCE = 64
_SWEEP_S = 0.5


class Connection(Protocol):
    """`deadline`: when, by `perf_counter`, what the connection waits for must have happened; then it is told."""

    deadline: float

    def expire(self, now: float) -> None: ...


class Gate:
    """Shared by the connections of one server.

    Attributes:
        limits: what each may cost.
        max_connections: how many may be open; no more than there are file descriptors for.
        held_bytes: what has come of requests that are not complete, and what waits of answers.
        held_limit_bytes: how much that may be; beyond it requests are refused.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.max_connections = _connection_bound(limits)
        self.held_bytes = 0
        self.held_limit_bytes = _BODIES_AT_ONCE * limits.body_limit_bytes
        self._timer: Any = None

    def watch(self, connections: set[Any], loop: Any) -> None:
        """Look after the deadlines of these connections, for as long as there are any."""
        if self._timer is None:
            self._timer = loop.call_later(_SWEEP_S, self._sweep, connections, loop)

    def _sweep(self, connections: set[Connection], loop: Any) -> None:
        self._timer = None
        now = perf_counter()
        for connection in [each for each in connections if each.deadline < now]:
            connection.expire(now)
        if connections:
            self.watch(connections, loop)


def _connection_bound(limits: Limits) -> int:
    """`max_connections`, or fewer where the descriptors do not suffice; takes as many of those as the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    others = _PROTOCOLS * SPARE_CONNECTIONS + _OTHER_DESCRIPTORS
    wanted = _PROTOCOLS * limits.max_connections + others
    if soft < wanted:
        soft = min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return max(1, min(limits.max_connections, (soft - others) // _PROTOCOLS))
