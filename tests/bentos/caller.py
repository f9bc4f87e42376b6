"""Calls the HTTP application without a server."""

from __future__ import annotations

import json
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from bentos.protocols.http.app import HttpApp
from bentos.protocols.http.exchange import Request
from bentos.rounds import Unscored


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes
    closes: bool = False

    @property
    def json(self) -> Any:
        def refuse(constant: str) -> None:
            raise AssertionError(f"the answer holds {constant}, which is no JSON")

        return json.loads(self.body, parse_constant=refuse)


class Caller:
    """Sends one request at a time; `read` says whether the last one's body was asked for."""

    def __init__(self, app: HttpApp) -> None:
        self.app = app
        self.read = False

    def __call__(self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> Answer:
        pairs = {"content-length": str(len(body))} | (headers or {})
        fields = {key.lower().encode(): value.encode() for key, value in pairs.items()}
        request = Request(method, path, fields, perf_counter())
        response = self.app.begin(request)
        assert response or request.endpoint, "the protocol hands this on to BentoML"
        self.read = response is None
        if response is None:
            request.body = body
            answer = self.app.predict(request)
            if isinstance(answer, Unscored):
                answer = self.app.score(request, answer, self.app.core.rounds.alone(answer.columns))
            response = answer
        lines = [*self.app.headers, *response.headers, (b"content-type", response.content_type)]
        said = {key.decode(): value.decode() for key, value in lines}
        return Answer(response.status, said, response.body, response.close)

    def post_json(self, path: str, value: Any, content_type: str = "application/json") -> Answer:
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        return self("POST", path, body, {"content-type": content_type})

    def predict(self, rows: Any) -> Answer:
        return self.post_json("/predict", {"rows": rows})
