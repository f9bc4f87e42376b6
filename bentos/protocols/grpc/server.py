"""The gRPC front end: the connections to one listening socket, from its start to its end."""

from __future__ import annotations

import socket
import ssl

from bentos.core import Core
from bentos.protocols.connections.gate import Gate
from bentos.protocols.connections.listener import Listener
from bentos.protocols.grpc.app import PROTOCOL, GrpcApp
from bentos.protocols.grpc.connection import GrpcConnection


class GrpcServer:
    """A core served on a socket; over TLS if there is a context.

    Attributes:
        gate: the gate of its connections.
    """

    def __init__(self, core: Core, listening: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        self.gate = Gate(core)
        self._app = GrpcApp(core)
        core.metrics.in_flight[PROTOCOL].append(lambda: sum(each.in_flight for each in self.gate.connections))
        self._listener = Listener(self.gate, lambda: GrpcConnection(self._app, self.gate), listening, tls)

    async def start(self) -> None:
        """Listen, then report SERVING."""
        await self._listener.start()
        self._app.health.start()

    async def stop(self, drain_s: float) -> None:
        """Report NOT_SERVING, take no new call, and abort the calls that are left after `drain_s` seconds."""
        self._app.health.stop()
        self._listener.close()
        await self.gate.drain(drain_s)
