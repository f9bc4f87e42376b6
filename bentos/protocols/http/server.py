"""The HTTP front end: the connections to one listening socket, from its start to its end."""

from __future__ import annotations

import asyncio
import socket
import ssl

from bentos.core import Core
from bentos.protocols.connections.listener import BACKLOG, Listener
from bentos.protocols.http.app import HttpApp
from bentos.protocols.http.http1.connection import STOPPING_S, HttpConnection
from bentos.protocols.http.http1.door import KEEP_ALIVE_S, Door
from bentos.protocols.http.pages.pages import PATHS


class HttpServer:
    """A core served on a socket, with the given pages; over TLS if there is a context.

    Attributes:
        door: the gate of its connections.
    """

    def __init__(
        self,
        core: Core,
        listening: socket.socket,
        tls: ssl.SSLContext | None = None,
        keep_alive_s: float = KEEP_ALIVE_S,
        backlog: int = BACKLOG,
        pages: frozenset[str] = PATHS,
        cors: frozenset[bytes] = frozenset(),
    ) -> None:
        self.door = Door(HttpApp(core, pages, tls=tls is not None, cors=cors), keep_alive_s)
        self._listener = Listener(self.door, lambda: HttpConnection(self.door), listening, tls, backlog)

    async def start(self) -> None:
        """Accept connections from now on."""
        await self._listener.start()

    async def stop(self, drain_s: float) -> None:
        """Drain: answer the requests that arrive within a moment, then accept no connection, and close the rest after `drain_s` seconds.

        In that moment callers of open connections learn that these end, and connections in the backlog are accepted. The parent process
        holds the listening socket open, so connections keep coming in, and would be reset at the end.
        """
        later = asyncio.get_running_loop().call_later(min(STOPPING_S, drain_s / 2), self._listener.close)
        await self.door.drain(drain_s)
        later.cancel()
        self._listener.close()
