"""The HTTP application: plain calls from a request to its response, without a socket or a coroutine.

It answers `/predict`, `/v2…` and the pages of the package `pages`, and rejects everything else. `http1` brings the requests.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

from bentos.core import Core
from bentos.errors import (
    INTERNAL,
    BodyTooLongError,
    MethodNotAllowedError,
    NotFoundError,
    OverloadedError,
    UnauthorizedError,
    UnsupportedCodingError,
    log_defect,
)
from bentos.monitoring.metrics import OK
from bentos.protocols.connections import compression
from bentos.protocols.http import origins
from bentos.protocols.http.exchange import (
    READS,
    WRITES,
    Endpoint,
    Request,
    Response,
    content_coding,
    media_type,
    timeout_of,
)
from bentos.protocols.http.oip import PREFIX as OIP_PREFIX
from bentos.protocols.http.oip import OipEndpoint
from bentos.protocols.http.pages.pages import PATHS, Pages
from bentos.protocols.http.predict import PATH as PREDICT_PATH
from bentos.protocols.http.predict import PredictEndpoint
from bentos.rounds import AnswerT, Score, Unscored
from contract.errors import RequestError, UnsupportedTypeError

# The page at `/` runs BentoML's copy of Swagger UI, with styles and pictures made in place. Source: OWASP, HTTP Headers Cheat Sheet.
_SECURITY = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
    (
        b"content-security-policy",
        b"default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; connect-src 'self'; "
        b"base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
)
_OVER_TLS = ((b"strict-transport-security", b"max-age=31536000"),)


class HttpApp:
    """The application over a core.

    Args:
        paths: the pages that it serves, of `bentos.protocols.http.pages.pages.PATHS`.
        tls: send Strict-Transport-Security, since every request comes over TLS.
        cors: the origins whose web pages may read the answers.

    Attributes:
        headers: the headers of every answer.
    """

    def __init__(
        self, core: Core, paths: frozenset[str] = PATHS, *, tls: bool = False, cors: frozenset[bytes] = frozenset()
    ) -> None:
        self.core = core
        self._cors = cors
        self.headers = ((b"x-model-version", core.version.encode()), *_SECURITY, *(_OVER_TLS if tls else ()))
        self._paths = paths
        self._predict = PredictEndpoint(core)
        self._oip = OipEndpoint(core)
        self._pages = Pages(core)

    def begin(self, request: Request) -> Response | None:
        """Return the answer to a head; None if `predict` needs the body."""
        return self._observed(request, self._by_head)

    def predict(self, request: Request) -> Response | Unscored[Response]:
        """Return the answer to a complete request, or its rows for `score`."""
        return self._observed(request, self._by_body, predicts=True)

    def score(self, request: Request, rows: Unscored[Response], score: Score) -> Response:
        """Return the answer to a request with these rows, whose scores `score` returns."""
        return self._observed(request, lambda _: rows.answer(*score()), predicts=True)

    def busy(self, *, oip: bool) -> tuple[str, Response]:
        """Return the protocol's name and the answer to a prediction that is shed unread."""
        endpoint: Endpoint = self._oip if oip else self._predict
        return endpoint.protocol, _refusal(endpoint, OverloadedError())

    def refuse(self, request: Request, error: RequestError) -> Response:
        """Return the answer to a request that `error` ended, before or after `begin`."""

        def fail(_: Request) -> Response:
            raise error

        return self._observed(request, fail)

    def count_disconnected(self, request: Request) -> None:
        """Count a request whose caller disconnected before it was complete."""
        self._count(request, "disconnected")

    def _observed(
        self, request: Request, respond: Callable[[Request], AnswerT], *, predicts: bool = False
    ) -> AnswerT | Response:
        outcome = OK
        response: AnswerT | Response
        try:
            response = respond(request)
        except RequestError as error:
            outcome = error.code
            response = _refusal(request.endpoint or self._predict, error)
        except Exception as error:  # noqa: BLE001  # the last line of defence: whatever it is, the caller gets an answer
            log_defect(error)
            outcome = INTERNAL
            response = Response(500, (request.endpoint or self._predict).defect())
        if isinstance(response, Response):
            if outcome != OK or predicts:
                self._count(request, outcome)
            if self._cors:
                return origins.shared(response, request, self._cors)
        return response

    def _count(self, request: Request, outcome: str) -> None:
        protocol = (request.endpoint or self._predict).protocol
        self.core.answered(protocol, outcome, perf_counter() - request.started, request.headers)

    def _by_head(self, request: Request) -> Response | None:
        method, path, headers = request.method, request.path, request.headers
        endpoint = request.endpoint = self._endpoint(path)
        if method == "OPTIONS":
            return self._options(endpoint, path)
        if self.core.access:
            self.core.access.check_path(path, headers.get(b"authorization", b""))
        if b"pickle" in media_type(headers):  # BentoML's own servers load such bodies, which runs the caller's code
            raise UnsupportedTypeError("unsupported content type: pickles are never loaded; send application/json")
        if endpoint is None or method != "POST" or not endpoint.predicts(path):
            return self._told(endpoint, request)
        endpoint.check_head(path, headers)
        declared = headers.get(b"content-length", b"0")
        if not declared.isdigit() or int(declared) > self.core.limits.body_limit_bytes:
            raise BodyTooLongError(self.core.limits.body_limit_bytes)
        return None

    def _told(self, endpoint: Endpoint | None, request: Request) -> Response:
        """Return the answer to a request whose body, if any, is ignored."""
        method, path = request.method, request.path
        methods = self._methods(endpoint, path)
        if method not in methods:
            raise MethodNotAllowedError((*methods, "OPTIONS"))
        if endpoint is None:
            return Response(*self._pages.at(path))
        return endpoint.answer(path)

    def _by_body(self, request: Request) -> Response | Unscored[Response]:
        endpoint, admission = request.endpoint or self._predict, self.core.admission
        admission.admit(len(request.body), request.started, timeout_of(request.headers))
        try:
            body = request.body
            if b"content-encoding" in request.headers:
                body = self._inflated(request)
            return endpoint.predict(request.headers, body)
        finally:
            admission.done()

    def _inflated(self, request: Request) -> bytes:
        coding = content_coding(request.headers)
        limit = self.core.limits.body_limit_bytes
        return compression.inflated(request.body, coding, limit) if coding else request.body

    def _endpoint(self, path: str) -> Endpoint | None:
        """Return the endpoint of a path; None for a page or an unknown path."""
        if path == PREDICT_PATH:
            return self._predict
        return self._oip if path == OIP_PREFIX or path.startswith(f"{OIP_PREFIX}/") else None

    def _methods(self, endpoint: Endpoint | None, path: str) -> tuple[str, ...]:
        """Return the methods of a path besides OPTIONS; raise NotFoundError for an unknown path."""
        if endpoint is not None:
            return endpoint.methods(path)
        if path not in self._paths:
            raise NotFoundError(f"no such path{'; the page / lists the paths' if '/' in self._paths else ''}")
        return READS

    def _options(self, endpoint: Endpoint | None, path: str) -> Response:
        """Return the methods of a path, or of the server (RFC 9110, section 9.3.7); without a key, since browsers' preflights send none.

        HAProxy's health check sends OPTIONS for `/` even if there is no such page.
        """
        methods: tuple[str, ...] = ()
        if path == "*":
            methods = (*READS, *WRITES)
        elif path != "/" or path in self._paths:
            methods = self._methods(endpoint, path)
        return Response(200, b"", headers=((b"allow", ", ".join((*methods, "OPTIONS")).encode()),))


def _refusal(endpoint: Endpoint, error: RequestError) -> Response:
    status, body = endpoint.error(error)
    headers: tuple[tuple[bytes, bytes], ...] = ()
    if isinstance(error, MethodNotAllowedError):
        headers = ((b"allow", error.allowed.encode()),)
    elif isinstance(error, UnauthorizedError):
        headers = ((b"www-authenticate", b'Bearer realm="bulkhead"'),)
    elif isinstance(error, UnsupportedCodingError):
        headers = ((b"accept-encoding", b", ".join(compression.CODINGS)),)
    elif isinstance(error, OverloadedError):
        headers = ((b"retry-after", b"%d" % error.retry_after_s),)
    return Response(status, body, headers=headers, close=isinstance(error, BodyTooLongError))
