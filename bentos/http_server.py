"""The HTTP front end: the connections to one listening socket, from its start to its end."""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import suppress

from bentos.core import Core
from bentos.http_app import HttpApp
from bentos.http_door import KEEP_ALIVE_S, Door
from bentos.http_protocol import HttpProtocol
from bentos.pages import PATHS

BACKLOG = 2048  # connections that wait to be accepted
_LOOK_S = 0.02
# uvloop takes one connection a round of the event loop, however long that was. To take one costs as much as an answer.
_ACCEPTED_PER_S = 1000


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
        self._accepting: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: HttpProtocol(self.door), sock=self._listening, ssl=self._tls, backlog=self._backlog
        )
        self.door.admission.after_long_round.append(self._accept_more)

    def _accept_more(self, seconds: float) -> None:
        """Take the connections that came in so many seconds of other work."""
        for _ in range(int(seconds * _ACCEPTED_PER_S)):
            try:
                connection, _ = self._listening.accept()
            except OSError:  # there is none, or the server stops
                return
            connection.setblocking(False)
            task = asyncio.get_running_loop().create_task(self._take(connection))
            self._accepting.add(task)
            task.add_done_callback(self._accepting.discard)

    async def _take(self, connection: socket.socket) -> None:
        with suppress(OSError):  # the caller has gone, or does not know TLS
            loop = asyncio.get_running_loop()
            await loop.connect_accepted_socket(lambda: HttpProtocol(self.door), connection, ssl=self._tls)

    async def stop(self, drain_s: float) -> None:
        """Take no new connection, answer what has begun to arrive, and close what is left after `drain_s`."""
        if self._server is not None:
            self._server.close()
        self.door.shut()
        loop = asyncio.get_running_loop()
        end = loop.time() + drain_s
        while self.door.connections and loop.time() < end:
            await asyncio.sleep(_LOOK_S)
        for connection in [*self.door.connections]:
            connection.transport.abort()
