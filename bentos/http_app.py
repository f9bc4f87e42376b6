"""The HTTP front door: an ASGI application ahead of BentoML's middleware.

It answers `/predict`, `/v2…`, `/` and `/docs.json` itself, hands BentoML's own pages on, and refuses everything else. Ahead of
the middleware, because that costs several times what a prediction does. Handing on only known paths also keeps a stranger from
filling BentoML's metrics with paths of his own.
"""

from __future__ import annotations

from time import perf_counter

from bentos import openapi
from bentos.asgi import Application, Message, Receive, Scope, Send
from bentos.core import Core
from bentos.errors import (
    INTERNAL,
    BodyTimeoutError,
    BodyTooLongError,
    MethodNotAllowedError,
    NotFoundError,
    UnauthorizedError,
    log_defect,
)
from bentos.http_exchange import DisconnectedError, Headers, Response, media_type, read_body, respond
from bentos.http_oip import PREFIX as OIP_PREFIX
from bentos.http_oip import OipEndpoint
from bentos.http_predict import PATH as PREDICT_PATH
from bentos.http_predict import PredictEndpoint
from bentos.metrics import OK
from contract.errors import RequestError, UnsupportedTypeError

_STATIC = (
    "swagger-ui.css",
    "index.css",
    "swagger-ui-bundle.js",
    "swagger-ui-standalone-preset.js",
    "swagger-initializer.js",
)
BENTOML_PATHS = frozenset(
    ("/livez", "/readyz", "/healthz", "/metrics", "/schema.json", *(f"/static_content/{name}" for name in _STATIC))
)
_READS = ("GET", "HEAD")
Endpoint = PredictEndpoint | OipEndpoint


class HttpApp:
    """ASGI application over a core; `bentoml_app` gets what is BentoML's, the lifespan included."""

    def __init__(self, core: Core, bentoml_app: Application) -> None:
        self._core = core
        self._bentoml_app = bentoml_app
        self._version = core.version.encode()
        self._predict = PredictEndpoint(core)
        self._oip = OipEndpoint(core)
        self._pages = {
            "/": Response(200, openapi.page(core), b"text/html; charset=utf-8"),
            "/docs.json": Response(200, openapi.document(core)),
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._bentoml_app(scope, receive, send)
        elif scope["path"] in BENTOML_PATHS and scope["method"] in _READS and self._admits(scope):
            await self._bentoml_app(scope, receive, self._with_version(send))
        else:
            await self._exchange(scope, receive, send)

    async def _exchange(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = perf_counter()
        method, path = scope["method"], scope["path"]
        endpoint = self._oip if path == OIP_PREFIX or path.startswith(f"{OIP_PREFIX}/") else self._predict
        outcome = OK
        try:
            response = await self._answer(endpoint, method, path, dict(scope["headers"]), receive)
        except DisconnectedError:
            self._core.metrics.count(endpoint.protocol, "disconnected", perf_counter() - started)
            return
        except RequestError as error:
            outcome = error.code
            response = _refusal(endpoint, error)
        except Exception as error:  # noqa: BLE001  # the last line of defence: whatever it is, the caller gets an answer
            log_defect(error)
            outcome = INTERNAL
            response = Response(500, endpoint.defect())
        if outcome != OK or method not in _READS:
            self._core.metrics.count(endpoint.protocol, outcome, perf_counter() - started)
        await respond(response, self._version, receive, send)

    async def _answer(self, endpoint: Endpoint, method: str, path: str, headers: Headers, receive: Receive) -> Response:
        if self._core.access:
            self._core.access.check_path(path, headers.get(b"authorization", b""))
        if b"pickle" in media_type(headers):
            raise UnsupportedTypeError("pickles are not accepted")
        if endpoint is self._predict and path != PREDICT_PATH:
            return self._page(method, path)
        body = b""
        if endpoint.needs_body(method, path):
            endpoint.check_head(path, headers)
            body = await read_body(headers, receive, self._core.limits)
        return endpoint.answer(method, path, headers, body)

    def _admits(self, scope: Scope) -> bool:
        """Whether the caller may see a page of BentoML's."""
        if self._core.access is None:
            return True
        try:
            self._core.access.check_path(scope["path"], dict(scope["headers"]).get(b"authorization", b""))
        except UnauthorizedError:
            return False
        return True

    def _page(self, method: str, path: str) -> Response:
        if path not in self._pages and path not in BENTOML_PATHS:
            raise NotFoundError("no such path; see / for those that there are")
        if method not in _READS:
            raise MethodNotAllowedError("GET")
        return self._pages[path]

    def _with_version(self, send: Send) -> Send:
        async def send_with_version(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-model-version", self._version)]
            await send(message)

        return send_with_version


def _refusal(endpoint: Endpoint, error: RequestError) -> Response:
    status, body = endpoint.error(error)
    allow: tuple[tuple[bytes, bytes], ...] = ()
    if isinstance(error, MethodNotAllowedError):
        allow = ((b"allow", error.allowed.encode()),)
    elif isinstance(error, UnauthorizedError):
        allow = ((b"www-authenticate", b'Bearer realm="bulkhead"'),)
    unread = isinstance(error, (BodyTooLongError, BodyTimeoutError))
    return Response(status, body, headers=allow, close=unread, linger=isinstance(error, BodyTooLongError))
