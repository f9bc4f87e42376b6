"""The health service `grpc.health.v1`: the status of the server and its services, checked once or watched."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from google.protobuf.message import Message

from bentos.errors import NotFoundError, StoppingError
from bentos.protocols.grpc.call import Call, Ends, Method
from bentos.protos import health_pb2

SERVICE = "grpc.health.v1.Health"
_Response = health_pb2.HealthCheckResponse


class Health:
    """The common status of the server (`""`) and these services: SERVING between `start` and `stop`, else NOT_SERVING."""

    def __init__(self, services: Iterable[str]) -> None:
        self._known = frozenset(("", *services))
        self._status = _Response.NOT_SERVING
        self._watching: set[Call] = set()

    def methods(self) -> dict[str, Method]:
        """Return the service's methods by path."""
        request = health_pb2.HealthCheckRequest
        return {
            f"/{SERVICE}/Check": Method(request, self._check),
            f"/{SERVICE}/Watch": Method(request, self._watch, Ends.NEVER, self._watching.discard),
        }

    def start(self) -> None:
        """Report SERVING."""
        self._set(_Response.SERVING)

    def stop(self) -> None:
        """Report NOT_SERVING, and end the calls of the watchers with UNAVAILABLE."""
        self._set(_Response.NOT_SERVING)
        # A copy: to end a call takes it off the set.
        for call in list(self._watching):
            call.finish(StoppingError())

    def _set(self, status: Any) -> None:
        self._status = status
        for call in list(self._watching):
            call.send(_Response(status=status))

    def _check(self, request: Any) -> Message:
        if request.service not in self._known:
            raise NotFoundError("unknown service")
        return _Response(status=self._status)

    def _watch(self, request: Any, call: Call) -> Message:
        if request.service not in self._known:
            return _Response(status=_Response.SERVICE_UNKNOWN)
        self._watching.add(call)
        return _Response(status=self._status)
