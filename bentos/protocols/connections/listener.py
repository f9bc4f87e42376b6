"""A listening socket, of either protocol, that accepts several connections after a long round of the event loop."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from math import inf
from time import perf_counter

from bentos.guards.admission import Admission
from bentos.protocols.connections.gate import Gate

BACKLOG = 2048  # connections that wait to be accepted
# uvloop accepts one connection per round, however long the round. Accepting costs as much as an answer, hence a bound; a second's worth may
# be accepted at once, since callers that keep their connections open them all when load begins.
_ACCEPTED_PER_S = 1000


class Listener:
    """A listening socket that makes a protocol for each connection; over TLS if there is a context."""

    def __init__(
        self,
        gate: Gate,
        protocol: Callable[[], asyncio.Protocol],
        listening: socket.socket,
        tls: ssl.SSLContext | None,
        backlog: int = BACKLOG,
    ) -> None:
        self._admission: Admission = gate.core.admission
        self._protocol = protocol
        self._socket = listening
        self._backlog = backlog
        self._server: asyncio.Server | None = None
        self._taken: set[asyncio.Task[None]] = set()
        self._allowed, self._allowed_at = 0.0, -inf  # connections to accept now, by the last time that some were
        self._tls = tls
        self._handshake_s = gate.limits.head_timeout_s if tls else None

    async def start(self) -> None:
        """Accept connections from now on."""
        loop = asyncio.get_running_loop()
        create = loop.create_unix_server if self._socket.family == socket.AF_UNIX else loop.create_server
        self._server = await create(
            self._protocol,
            sock=self._socket,
            backlog=self._backlog,
            ssl=self._tls,
            ssl_handshake_timeout=self._handshake_s,
        )
        self._admission.after_long_round.append(self._accept_more)

    def close(self) -> None:
        """Accept no more connections; those that are open stay so."""
        if self._server is not None:
            self._admission.after_long_round.remove(self._accept_more)
            self._server.close()
            self._server = None

    def _accept_more(self) -> None:
        """Accept the connections that have come during a long round, within the bound."""
        now = perf_counter()
        self._allowed = min(self._allowed + (now - self._allowed_at) * _ACCEPTED_PER_S, _ACCEPTED_PER_S)
        self._allowed_at = now
        while self._allowed >= 1:
            try:
                connection, _ = self._socket.accept()
            except OSError:  # none is waiting
                return
            self._allowed -= 1
            connection.setblocking(False)
            task = asyncio.get_running_loop().create_task(self._take(connection))
            self._taken.add(task)  # the event loop itself holds only weak references to tasks
            task.add_done_callback(self._taken.discard)

    async def _take(self, connection: socket.socket) -> None:
        with suppress(OSError):  # the caller has disconnected, or does not speak TLS
            await asyncio.get_running_loop().connect_accepted_socket(
                self._protocol, connection, ssl=self._tls, ssl_handshake_timeout=self._handshake_s
            )
