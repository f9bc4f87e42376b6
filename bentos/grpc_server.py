"""The gRPC server: the Open Inference Protocol, `grpc.health.v1` and reflection, on the event loop that HTTP runs on."""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Any

from bentos.core import Core
from bentos.gate import Gate
from bentos.grpc_app import GrpcApp
from bentos.grpc_connection import GrpcConnection
from bentos.http_server import BACKLOG
from contract.errors import ConfigurationError


class GrpcServer:
    """Serves a core at one address that nobody else may share; over TLS where there is a context.

    Attributes:
        gate: where its connections come in.
    """

    def __init__(self, core: Core, host: str, port: int, context: ssl.SSLContext | None = None) -> None:
        self._core = core
        self._address = (host, port)
        self._context = context
        self._app = GrpcApp(core)
        self.gate = Gate(core.limits)
        self._server: Any = None

    async def start(self) -> None:
        """Listen, then report SERVING.

        Raises:
            ConfigurationError: the address cannot be had.
        """
        try:
            listener = _listen(*self._address)
        except OSError as error:
            host, port = self._address
            raise ConfigurationError(
                f"gRPC cannot listen on {host}, port {port} ({error.strerror or error}); choose another by BULKHEAD_GRPC_HOST "
                "and BULKHEAD_GRPC_PORT"
            ) from error
        self._server = await asyncio.get_running_loop().create_server(
            lambda: GrpcConnection(self._app, self.gate),
            sock=listener,
            backlog=BACKLOG,
            ssl=self._context,
            ssl_handshake_timeout=self._core.limits.head_timeout_s if self._context else None,
        )
        self._app.health.start()

    async def stop(self, drain_s: float) -> None:
        """Report NOT_SERVING, take no new call, and end what is left after `drain_s`."""
        self._app.health.stop()
        if self._server is not None:
            self._server.close()
        await self.gate.drain(drain_s)


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket; `::` takes IPv4, too. No other server shares its port, or it would silently get half of the calls."""
    if ":" in host:
        return socket.create_server((host, port), family=socket.AF_INET6, dualstack_ipv6=host == "::", backlog=BACKLOG)
    return socket.create_server((host, port), backlog=BACKLOG)
