"""The gate of one server's connections, of either protocol: bounds on their number and memory, and one timer for all."""

from __future__ import annotations

import asyncio
import resource
from time import perf_counter
from typing import Any, Protocol

from bentos.core import Core
from contract.bundle.limits import Limits

# Connections above the bound that may still ask for health and metrics, one request each; and descriptors for files and listeners.
SPARE_CONNECTIONS = 64
_OTHER_DESCRIPTORS = 256
# The longest that one caller's bytes are parsed at a time before the other connections get their turn.
TURN_S = 0.002
_SERVERS = 3  # HTTP, gRPC and the admin pages have as many connections each
_SWEEP_S = 0.5
_LOOK_S = 0.02


class Connection(Protocol):
    """A connection, as its gate sees it; once `deadline` (by `perf_counter`) has passed, the gate calls `expire`."""

    transport: Any

    @property
    def deadline(self) -> float:
        """The time by `perf_counter` after which to call `expire`."""

    def expire(self, now: float) -> None:
        """End whatever is overdue."""

    def shutdown(self) -> None:
        """Take no new request, and close once those in flight are answered."""


class Gate:
    """The shared state of one server's connections.

    Attributes:
        connections: the open ones.
        max_connections: their bound, within the limit of file descriptors.
        held_bytes: bytes of incomplete requests and of unsent answers.
    """

    def __init__(self, core: Core) -> None:
        self.core = core
        self.connections: set[Any] = set()
        self.max_connections = _connection_bound(core.limits)
        self.held_bytes = 0
        self._timer: Any = None

    @property
    def limits(self) -> Limits:
        """The core's limits."""
        return self.core.limits

    @property
    def is_full(self) -> bool:
        """True while `held_bytes` exceeds `pending_limit_bytes`."""
        return self.held_bytes > self.limits.pending_limit_bytes

    def add(self, connection: Connection) -> int:
        """Add a new connection; its deadline is checked from now on.

        Returns:
            The number of connections above the bound, this one included; 0 or less if it may stay.
        """
        self.connections.add(connection)
        if self._timer is None:
            self._tick(asyncio.get_running_loop())
        return len(self.connections) - self.max_connections

    def sweep(self, now: float) -> None:
        """Expire overdue connections; called twice a second while there are connections."""
        self.core.rounds.flush()  # what waits for others is not overdue
        for connection in [each for each in self.connections if each.deadline < now]:
            connection.expire(now)

    async def drain(self, drain_s: float) -> None:
        """Tell each connection to shut down; abort those that are left after `drain_s` seconds."""
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
    """Return `max_connections`, or fewer if the limit of file descriptors is too low after it was raised as far as allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    others = _SERVERS * SPARE_CONNECTIONS + _OTHER_DESCRIPTORS
    wanted = _SERVERS * limits.max_connections + others
    if soft < wanted:
        soft = min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return max(1, min(limits.max_connections, (soft - others) // _SERVERS))
