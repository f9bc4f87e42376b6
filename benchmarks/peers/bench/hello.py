"""The limit for any ASGI server: read the body, answer a constant. Run by uvicorn with uvloop and httptools, as BentoML does."""

from __future__ import annotations

from typing import Any

_BODY = b'{"model":{"name":"hello","version":"0"},"predictions":[{"probability":0.5,"label":"on_time"}]}'
_START = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(_BODY))],
}


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answer every request with a constant after its body has arrived."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    await send(_START)
    await send({"type": "http.response.body", "body": _BODY})
