"""What the HTTP connections of one server share: the application, its limits, the heads of its answers, and one timer."""

from __future__ import annotations

import asyncio
import resource
from email.utils import formatdate
from http import HTTPStatus
from time import perf_counter, time
from typing import Any

from bentos.http_app import HttpApp
from bentos.http_exchange import Response
from contract.limits import Limits

# Connections beyond the bound that may ask for health and metrics, one request each; and descriptors for all that is no connection.
SPARE_CONNECTIONS = 64
_OTHER_DESCRIPTORS = 256
_SWEEP_S = 0.5
KEEP_ALIVE_S = 5.0


class Door:
    """Where the connections of one server come in.

    Attributes:
        connections: that are open.
        max_connections: how many may be; no more than there are file descriptors for.
        keep_alive_s: how long one may stay open without a request.
        held_bytes: what has come of requests that are not complete.
    """

    def __init__(self, app: HttpApp, keep_alive_s: float = KEEP_ALIVE_S) -> None:
        self.app = app
        self.connections: set[Any] = set()
        self.max_connections = _connection_bound(self.limits)
        self.keep_alive_s = keep_alive_s
        self.held_bytes = 0
        self._date = -1
        self._heads: dict[tuple[Any, ...], bytes] = {}
        self._timer: Any = None
        app.core.metrics.in_flight["http"] = lambda: sum(each.is_busy for each in self.connections)

    @property
    def limits(self) -> Limits:
        return self.app.core.limits

    def head(self, response: Response, keep: bool) -> bytes:
        """The head of a response up to the value of its content-length."""
        key = (response.status, response.content_type, response.headers, keep)
        head = self._heads.get(key)
        if head is None:
            date = formatdate(self._date, usegmt=True).encode()
            pairs = [(b"date", date), (b"content-type", response.content_type), *self.app.headers, *response.headers]
            if not keep:
                pairs.append((b"connection", b"close"))
            status = HTTPStatus(response.status)
            lines = b"".join(b"%b: %b\r\n" % pair for pair in pairs)
            head = b"HTTP/1.1 %d %b\r\n%bcontent-length: " % (status, status.phrase.encode(), lines)
            self._heads[key] = head
        return head

    def add(self, connection: Any) -> None:
        """Look after a new connection: after its deadline, and after the clock while there is any."""
        self.connections.add(connection)
        if self._timer is None:
            self._sweep(asyncio.get_running_loop())

    def shut(self) -> None:
        """Tell each connection that the server stops."""
        for connection in [*self.connections]:
            connection.shutdown()

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        if self._date != int(time()):
            self._date = int(time())
            self._heads.clear()
        now = perf_counter()
        for connection in [each for each in self.connections if each.deadline < now]:
            connection.expire(now)
        if self.connections:
            self._timer = loop.call_later(_SWEEP_S, self._sweep, loop)


def _connection_bound(limits: Limits) -> int:
    """`max_connections`, or fewer where the descriptors do not suffice; takes as many of those as the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    others = SPARE_CONNECTIONS + _OTHER_DESCRIPTORS
    if soft < limits.max_connections + others:
        soft = min(limits.max_connections + others, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return max(1, min(limits.max_connections, soft - others))
