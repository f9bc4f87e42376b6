"""What the HTTP connections of one server share: the application, its limits, the heads of its answers, and one timer."""

from __future__ import annotations

import resource
from time import perf_counter
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from bentos.http_app import HttpApp
from bentos.http_exchange import Response
from contract.limits import Limits

# Connections beyond the bound that may ask for health and metrics, one request each; and descriptors for all that is no connection.
SPARE_CONNECTIONS = 64
_OTHER_DESCRIPTORS = 256
_SWEEP_S = 0.5

Pairs = list[tuple[bytes, bytes]]


class Door:
    """Shared by the connections of one server.

    Attributes:
        max_connections: how many may be open; no more than there are file descriptors for.
        held_bytes: what has come of requests that are not complete.
    """

    def __init__(self, app: HttpApp) -> None:
        self.app = app
        self.max_connections = _connection_bound(self.limits)
        self.held_bytes = 0
        self._heads: dict[tuple[Any, ...], bytes] = {}
        self._defaults: Pairs | None = None
        self._timer: Any = None
        self._connections: set[Any] = set()
        app.core.metrics.in_flight["http"] = lambda: sum(each.is_busy for each in self._connections)

    @property
    def limits(self) -> Limits:
        return self.app.core.limits

    def head(self, response: Response, keep: bool, defaults: Pairs) -> bytes:
        """The head of a response up to the value of its content-length; `defaults` is uvicorn's list, a new one every second."""
        if defaults is not self._defaults:
            self._defaults = defaults
            self._heads.clear()
        key = (response.status, response.content_type, response.headers, keep)
        head = self._heads.get(key)
        if head is None:
            pairs = [*defaults, (b"content-type", response.content_type), *self.app.headers, *response.headers]
            if not keep:
                pairs.append((b"connection", b"close"))
            lines = b"".join(b"%b: %b\r\n" % pair for pair in pairs)
            head = self._heads[key] = STATUS_LINE[response.status] + lines + b"content-length: "
        return head

    def watch(self, connections: set[Any], loop: Any) -> None:
        """Look after the deadlines of these connections, for as long as there are any."""
        self._connections = connections
        if self._timer is None:
            self._timer = loop.call_later(_SWEEP_S, self._sweep, connections, loop)

    def _sweep(self, connections: set[Any], loop: Any) -> None:
        self._timer = None
        now = perf_counter()
        for connection in [each for each in connections if each.deadline < now]:
            connection.expire(now)
        if connections:
            self.watch(connections, loop)


def _connection_bound(limits: Limits) -> int:
    """`max_connections`, or fewer where the descriptors do not suffice; takes as many of those as the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    others = SPARE_CONNECTIONS + _OTHER_DESCRIPTORS
    if soft < limits.max_connections + others:
        soft = min(limits.max_connections + others, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return max(1, min(limits.max_connections, soft - others))
