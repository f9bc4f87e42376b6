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
    """Serves a core on a socket, and so many of the pages around it; over TLS where there is a context.

    Attributes:
        door: where its connections come in.
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
        await self._listener.start()

    async def stop(self, drain_s: float) -> None:
        """Answer what has begun to arrive, or does within a moment; then take no new connection, and close what is left after `drain_s`.

        In that moment the caller of a connection that is open learns that it ends, and one that waits in the backlog is let in: who
        started this process holds the socket open, so that connections come in, and would be reset at the end.
        """
        later = asyncio.get_running_loop().call_later(min(STOPPING_S, drain_s / 2), self._listener.close)
        await self.door.drain(drain_s)
        later.cancel()
        self._listener.close()
