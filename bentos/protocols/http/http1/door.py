"""The state that the HTTP connections of one server share: the application, and cached heads of its answers."""

from __future__ import annotations

from http import HTTPStatus
from time import gmtime, time
from typing import Any

from bentos.errors import OverloadedError
from bentos.protocols.connections.gate import Connection, Gate
from bentos.protocols.http.app import HttpApp
from bentos.protocols.http.exchange import Response

KEEP_ALIVE_S = 5.0
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Door(Gate):
    """The gate of one HTTP server.

    Attributes:
        keep_alive_s: seconds that a connection may stay idle.
    """

    def __init__(self, app: HttpApp, keep_alive_s: float = KEEP_ALIVE_S) -> None:
        super().__init__(app.core)
        self.app = app
        self.admission = app.core.admission
        self.keep_alive_s = keep_alive_s
        self._date = -1
        self._heads: dict[tuple[Any, ...], bytes] = {}
        app.core.metrics.in_flight["http"].append(lambda: sum(each.in_flight for each in self.connections))
        self._busy: dict[bool, tuple[str, bytes]] = {}
        self._stopping = False

    def add(self, connection: Connection) -> int:
        if self._stopping:  # it came from the backlog: its first request is answered, and is its last
            connection.shutdown()
        return super().add(connection)

    async def drain(self, drain_s: float) -> None:
        self._stopping = True
        await super().drain(drain_s)

    def head(self, response: Response, keep: bool) -> bytes:
        """Return the head of a response up to the value of its content-length, cached for a second because of its date."""
        key = (response.status, response.content_type, response.headers, keep)
        head = self._heads.get(key)
        if head is None:
            pairs = [
                (b"date", date_of(self._date)),
                (b"content-type", response.content_type),
                *self.app.headers,
                *response.headers,
            ]
            if not keep:
                pairs.append((b"connection", b"close"))
            status = HTTPStatus(response.status)
            lines = b"".join(b"%b: %b\r\n" % pair for pair in pairs)
            head = b"HTTP/1.1 %d %b\r\n%bcontent-length: " % (status, status.phrase.encode(), lines)
            self._heads[key] = head
        return head

    def busy(self, *, oip: bool) -> bytes:
        """Count a prediction that is shed unread, and return its whole answer."""
        if oip not in self._busy:
            protocol, response = self.app.busy(oip=oip)
            head = self.head(response, True)
            self._busy[oip] = protocol, b"%b%d\r\n\r\n%b" % (head, len(response.body), response.body)
        protocol, content = self._busy[oip]
        self.app.core.metrics.count(protocol, OverloadedError.code, 0.0)
        return content

    def sweep(self, now: float) -> None:
        if self._date != int(time()):  # the cached heads hold a Date, which is exact to the second
            self._date = int(time())
            self._heads.clear()
            self._busy.clear()
        super().sweep(now)


def date_of(seconds: int) -> bytes:
    """Return a time as HTTP has it, such as `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, 5.6.7)."""
    # Not by `email.utils`, which takes a server two milliseconds to import.
    at = gmtime(seconds)
    day, month = _DAYS[at.tm_wday], _MONTHS[at.tm_mon - 1]
    return f"{day}, {at.tm_mday:02} {month} {at.tm_year} {at.tm_hour:02}:{at.tm_min:02}:{at.tm_sec:02} GMT".encode()
