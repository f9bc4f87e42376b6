"""Where the connections of one server come in, whichever protocol they speak: how many there may be, what they hold, and one timer."""

from __future__ import annotations

import asyncio
import resource
from time import perf_counter
from typing import Any, Protocol

from bentos.core import Core
from contract.bundle.limits import Limits

# Connections beyond the bound that may ask for health and metrics, one request each; and descriptors for all that is no connection.
SPARE_CONNECTIONS = 64
_OTHER_DESCRIPTORS = 256
_SERVERS = 3  # HTTP, gRPC and the admin pages have as many connections each
_SWEEP_S = 0.5
_LOOK_S = 0.02


class Connection(Protocol):
    """`deadline`: when, by `perf_counter`, what the connection waits for must have happened; then it is told."""

    transport: Any

    @property
    def deadline(self) -> float: ...
    def expire(self, now: float) -> None: ...
    def shutdown(self) -> None: ...


class Gate:
    """Shared by the connections of one server.

    Attributes:
        connections: that are open.
        max_connections: how many may be; no more than there are file descriptors for.
        held_bytes: what has come of requests that are not complete, and what waits of answers.
    """

    def __init__(self, core: Core) -> None:
        self.core = core
        self.connections: set[Any] = set()
        self.max_connections = _connection_bound(core.limits)
        self.held_bytes = 0
        self._timer: Any = None

    @property
    def limits(self) -> Limits:
        """What they may cost."""
        return self.core.limits

    @property
    def is_full(self) -> bool:
        """Whether more is held than may be."""
        return self.held_bytes > self.limits.pending_limit_bytes

    def add(self, connection: Connection) -> int:
        """Look after a new connection: after its deadline, and after the clock while there is any.

        Returns:
            By how many there are more than there may be, with this one; 0 or less if it may stay.
        """
        self.connections.add(connection)
        if self._timer is None:
            self._tick(asyncio.get_running_loop())
        return len(self.connections) - self.max_connections

    def sweep(self, now: float) -> None:
        """Twice a second while there are connections."""
        for connection in [each for each in self.connections if each.deadline < now]:
            connection.expire(now)

    async def drain(self, drain_s: float) -> None:
        """Tell each connection that the server stops, and end what is left after that time."""
        for connection in [*self.connections]:
            connection.shutdown()
        end = perf_counter() + drain_s
        while self.connections and perf_counter() < end:
            await asyncio.sleep(_LOOK_S)
        for connection in [*self.connections]:
            connection.transport.abort()

    def _tick(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        self.sweep(perf_counter())
        if self.connections:
            self._timer = loop.call_later(_SWEEP_S, self._tick, loop)


def _connection_bound(limits: Limits) -> int:
    """`max_connections`, or fewer where the descriptors do not suffice; takes as many of those as the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    others = _SERVERS * SPARE_CONNECTIONS + _OTHER_DESCRIPTORS
    wanted = _SERVERS * limits.max_connections + others
    if soft < wanted:
        soft = min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return max(1, min(limits.max_connections, (soft - others) // _SERVERS))
