"""BentoML's own pages, which its own application (ASGI) answers: probes, metrics, and what the page at `/` loads.

Only known paths are handed on, so that a stranger cannot fill BentoML's metrics with paths of his own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Any, Any, Send], Awaitable[None]]

READS = ("GET", "HEAD")
_STATIC = (
    "swagger-ui.css",
    "index.css",
    "swagger-ui-bundle.js",
    "swagger-ui-standalone-preset.js",
    "swagger-initializer.js",
)
PATHS = frozenset(
    ("/livez", "/readyz", "/healthz", "/metrics", "/schema.json", *(f"/static_content/{name}" for name in _STATIC))
)


class BentomlPages:
    """BentoML's application, with these headers in its every answer, and closed for all but its own pages."""

    def __init__(self, application: Application, headers: tuple[tuple[bytes, bytes], ...]) -> None:
        self._application = application
        self._headers = headers

    async def __call__(self, scope: Any, receive: Any, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._application(scope, receive, send)
        elif scope["type"] == "http" and scope["path"] in PATHS and scope["method"] in READS:
            await self._application(scope, receive, self._with_headers(send))
        else:
            raise RuntimeError("a request came past bentos.http_protocol; is it installed?")

    def _with_headers(self, send: Send) -> Send:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *self._headers]
            await send(message)

        return send_with_headers
