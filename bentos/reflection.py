"""Server reflection over gRPC: which services there are and what their messages look like, for clients that have no `.proto` file."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import grpc  # type: ignore[import-untyped]
from google.protobuf import descriptor_pool  # type: ignore[import-untyped]
from grpc_reflection.v1alpha import reflection


class _Descriptors:
    """Protobuf's own pool, which finds the file of a service and of a message, but not that of a method."""

    def __init__(self) -> None:
        self._pool = descriptor_pool.Default()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)

    def FindFileContainingSymbol(self, symbol: str) -> Any:  # noqa: N802  # protobuf's name
        try:
            return self._pool.FindFileContainingSymbol(symbol)
        except KeyError:
            service, _, method = symbol.rpartition(".")
            return self._pool.FindServiceByName(service).methods_by_name[method].containing_service.file


def enable(server: grpc.aio.Server, services: Iterable[str]) -> None:
    """Let a server tell of these services, and of reflection itself."""
    reflection.enable_server_reflection((*services, reflection.SERVICE_NAME), server, _Descriptors())
