"""What the HTTP connections of one server share: the application, and the heads of its answers."""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from bentos.gate import Gate
from bentos.http_app import HttpApp
from bentos.http_exchange import Response

Pairs = list[tuple[bytes, bytes]]


class Door(Gate):
    """Shared by the connections of one server."""

    def __init__(self, app: HttpApp) -> None:
        super().__init__(app.core.limits)
        self.app = app
        self._heads: dict[tuple[Any, ...], bytes] = {}
        self._defaults: Pairs | None = None

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
