"""The HTTP application: every request is answered by plain calls, without a socket or a coroutine.

It answers `/predict`, `/v2…` and the pages of `bentos.pages`, and refuses everything else. `bentos.http.protocol` brings the requests.
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
    log_defect,
)
from bentos.http.exchange import READS, Endpoint, Request, Response, media_type, timeout_of
from bentos.http.oip import PREFIX as OIP_PREFIX
from bentos.http.oip import OipEndpoint
from bentos.http.predict import PATH as PREDICT_PATH
from bentos.http.predict import PredictEndpoint
from bentos.monitoring.metrics import OK
from bentos.pages import PATHS, Pages
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
        paths: the pages that it answers, of `bentos.pages.PATHS`.
        tls: whether it is asked over TLS alone, and callers shall never come without.

    Attributes:
        core: what it is thin over.
        headers: what every answer says.
    """

    def __init__(self, core: Core, paths: frozenset[str] = PATHS, *, tls: bool = False) -> None:
        self.core = core
        self.headers = ((b"x-model-version", core.version.encode()), *_SECURITY, *(_OVER_TLS if tls else ()))
        self._paths = paths
        self._predict = PredictEndpoint(core)
        self._oip = OipEndpoint(core)
        self._pages = Pages(core)

    def begin(self, request: Request) -> Response | None:
        """The answer by the head alone; None where the body is wanted, for `finish`."""
        return self._observed(request, self._by_head)

    def finish(self, request: Request) -> Response:
        """The answer to a request that has its body."""
        return self._observed(request, self._by_body) or Response(500, b"")

    def busy(self, *, oip: bool) -> tuple[str, Response]:
        """The refusal of a prediction that nobody has time to look at, and the name of its protocol."""
        endpoint: Endpoint = self._oip if oip else self._predict
        return endpoint.protocol, _refusal(endpoint, OverloadedError())

    def refuse(self, request: Request, error: RequestError) -> Response:
        """The answer to a request that `error` ended, after `begin` or before it."""

        def fail(_: Request) -> Response:
            raise error

        return self._observed(request, fail) or Response(500, b"")

    def count_disconnected(self, request: Request) -> None:
        """The caller went away before its request was complete; nobody waits for an answer."""
        self._count(request, "disconnected")

    def _observed(self, request: Request, respond: Callable[[Request], Response | None]) -> Response | None:
        outcome = OK
        try:
            response = respond(request)
        except RequestError as error:
            outcome = error.code
            response = _refusal(request.endpoint or self._predict, error)
        except Exception as error:  # noqa: BLE001  # the last line of defence: whatever it is, the caller gets an answer
            log_defect(error)
            outcome = INTERNAL
            response = Response(500, (request.endpoint or self._predict).defect())
        if response is not None and (outcome != OK or request.method not in READS):
            self._count(request, outcome)
        return response

    def _count(self, request: Request, outcome: str) -> None:
        protocol = (request.endpoint or self._predict).protocol
        self.core.answered(protocol, outcome, perf_counter() - request.started, request.headers)

    def _by_head(self, request: Request) -> Response | None:
        method, path, headers = request.method, request.path, request.headers
        endpoint = request.endpoint = self._endpoint(path)
        if self.core.access:
            self.core.access.check_path(path, headers.get(b"authorization", b""))
        if b"pickle" in media_type(headers):
            raise UnsupportedTypeError("pickles are not accepted")
        if endpoint is self._predict and path != PREDICT_PATH:
            return self._page(method, path)
        if not endpoint.needs_body(method, path):
            return endpoint.answer(method, path, headers, b"")
        endpoint.check_head(path, headers)
        declared = headers.get(b"content-length", b"0")
        if not declared.isdigit() or int(declared) > self.core.limits.body_limit_bytes:
            raise BodyTooLongError(self.core.limits.body_limit_bytes)
        return None

    def _by_body(self, request: Request) -> Response:
        endpoint, admission = request.endpoint or self._predict, self.core.admission
        admission.admit(len(request.body), request.started, timeout_of(request.headers))
        try:
            return endpoint.answer(request.method, request.path, request.headers, request.body)
        finally:
            admission.done()

    def _endpoint(self, path: str) -> Endpoint:
        if path == PREDICT_PATH:
            return self._predict
        return self._oip if path == OIP_PREFIX or path.startswith(f"{OIP_PREFIX}/") else self._predict

    def _page(self, method: str, path: str) -> Response:
        if path not in self._paths:
            raise NotFoundError(f"no such path{'; see / for those that there are' if '/' in self._paths else ''}")
        if method not in READS:
            raise MethodNotAllowedError("GET")
        return self._pages.answer(path)


def _refusal(endpoint: Endpoint, error: RequestError) -> Response:
    status, body = endpoint.error(error)
    headers: tuple[tuple[bytes, bytes], ...] = ()
    if isinstance(error, MethodNotAllowedError):
        headers = ((b"allow", error.allowed.encode()),)
    elif isinstance(error, UnauthorizedError):
        headers = ((b"www-authenticate", b'Bearer realm="bulkhead"'),)
    elif isinstance(error, OverloadedError):
        headers = ((b"retry-after", b"%d" % error.retry_after_s),)
    return Response(status, body, headers=headers, close=isinstance(error, BodyTooLongError))
