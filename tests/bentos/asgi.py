"""Calls an ASGI application without a server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        def refuse(constant: str) -> None:
            raise AssertionError(f"the answer holds {constant}, which is no JSON")

        return json.loads(self.body, parse_constant=refuse)


class Caller:
    """Sends one request at a time; `chunks` are the parts in which the body arrives."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.chunks_taken = 0

    def __call__(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
        chunks: Iterable[bytes] | None = None,
        stalls: bool = False,
    ) -> Answer:
        parts = list(chunks) if chunks is not None else [body]
        declared = {} if chunks is not None or stalls else {"content-length": str(len(body))}
        pairs = [(key.lower().encode(), value.encode()) for key, value in (declared | (headers or {})).items()]
        scope = {"type": "http", "method": method, "path": path, "headers": pairs}
        return asyncio.run(self._exchange(scope, parts, stalls))

    def post_json(self, path: str, value: Any, content_type: str = "application/json") -> Answer:
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        return self("POST", path, body, {"content-type": content_type})

    def predict(self, rows: Any) -> Answer:
        return self.post_json("/predict", {"rows": rows})

    async def _exchange(self, scope: dict[str, Any], parts: list[bytes], stalls: bool) -> Answer:
        self.chunks_taken = 0
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            if self.chunks_taken == len(parts):
                await asyncio.sleep(3600)
            self.chunks_taken += 1
            more = stalls or self.chunks_taken < len(parts)
            return {"type": "http.request", "body": parts[self.chunks_taken - 1], "more_body": more}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        await self.app(scope, receive, send)
        assert not sent[-1].get("more_body", False), "the response was not finished"
        headers = {key.decode(): value.decode() for key, value in sent[0]["headers"]}
        return Answer(sent[0]["status"], headers, b"".join(message["body"] for message in sent[1:]))
