"""The HTTP front end: the connections to one listening socket, from its start to its end."""

from __future__ import annotations

import asyncio
import socket
import ssl

from bentos.core import Core
from bentos.http_app import HttpApp
from bentos.http_door import KEEP_ALIVE_S, Door
from bentos.http_protocol import HttpProtocol
from bentos.pages import PATHS

BACKLOG = 2048  # connections that wait to be accepted


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
    ) -> None:
        self.door = Door(HttpApp(core, pages, tls=tls is not None), keep_alive_s)
        self._listening = listening
        self._tls = tls
        self._backlog = backlog
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: HttpProtocol(self.door), sock=self._listening, ssl=self._tls, backlog=self._backlog
        )

    async def stop(self, drain_s: float) -> None:
        """Take no new connection, answer what has begun to arrive, and close what is left after `drain_s`."""
        if self._server is not None:
            self._server.close()
        await self.door.drain(drain_s)
