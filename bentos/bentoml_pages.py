"""The pages around the predictions: probes, metrics, and what the page at `/` loads, which is BentoML's copy of Swagger UI. In ASGI.

Only known paths are answered, and what they load is read from the files of BentoML's package without importing it.
"""

from __future__ import annotations

import mimetypes
import os
from collections.abc import Awaitable, Callable, MutableMapping
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from prometheus_client import CONTENT_TYPE_LATEST

from bentos.core import Core

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]

READS = ("GET", "HEAD")
_STATIC = (
    "swagger-ui.css",
    "index.css",
    "swagger-ui-bundle.js",
    "swagger-ui-standalone-preset.js",
    "swagger-initializer.js",
)
_STATIC_PREFIX = "/static_content/"
PATHS = frozenset(("/livez", "/readyz", "/healthz", "/metrics", *(f"{_STATIC_PREFIX}{name}" for name in _STATIC)))
_TEXT = "text/plain; charset=utf-8"
_CHUNK = 1 << 16


class Pages:
    """Answers `PATHS`, with these headers in every answer."""

    def __init__(self, core: Core, headers: tuple[tuple[bytes, bytes], ...]) -> None:
        self._core = core
        self._headers = headers

    async def __call__(self, scope: Any, receive: Any, send: Send) -> None:  # noqa: ARG002
        path = scope["path"]
        if path not in PATHS or scope["method"] not in READS:
            raise RuntimeError("a request came past bentos.http_protocol; is it installed?")
        if path.startswith(_STATIC_PREFIX):
            file = _static_content() / path.removeprefix(_STATIC_PREFIX)
            with file.open("rb") as content:
                size = os.fstat(content.fileno()).st_size
                await self._answer(200, mimetypes.guess_type(file)[0] or _TEXT, size, content, send)
        elif path == "/metrics":
            text = self._core.metrics.text().encode()
            await self._answer(200, CONTENT_TYPE_LATEST, len(text), BytesIO(text), send)
        else:
            await self._answer(
                503 if path == "/readyz" and not self._core.ready else 200, _TEXT, 1, BytesIO(b"\n"), send
            )

    async def _answer(self, status: int, content_type: str, size: int, content: BinaryIO, send: Send) -> None:
        about = ((b"content-type", content_type.encode()), (b"content-length", b"%d" % size))
        await send({"type": "http.response.start", "status": status, "headers": [*about, *self._headers]})
        while chunk := content.read(_CHUNK):  # a caller that does not read costs one chunk
            await send({"type": "http.response.body", "body": chunk, "more_body": True})
        await send({"type": "http.response.body", "body": b""})


def _static_content() -> Path:
    package = find_spec("bentoml")
    if package is None or not package.submodule_search_locations:
        raise RuntimeError("bentoml is not installed")
    return Path(package.submodule_search_locations[0]) / "_internal" / "server" / "static_content"
