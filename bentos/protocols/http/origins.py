"""CORS: the headers by which web pages of the origins that `contract.cors` reads may read the answers.

Source: https://fetch.spec.whatwg.org/#http-cors-protocol.
"""

from __future__ import annotations

from msgspec.structs import replace

from bentos.protocols.http.exchange import Request, Response

_EXPOSED = (
    b"access-control-expose-headers",
    b"x-model-version, x-request-id, retry-after, inference-header-content-length",
)
_PREFLIGHT = (
    (
        b"access-control-allow-headers",
        b"authorization, content-type, content-encoding, inference-header-content-length, x-request-id, x-request-timeout-ms, "
        b"traceparent, tracestate",
    ),
    (b"access-control-max-age", b"600"),
)


def shared(response: Response, request: Request, origins: frozenset[bytes]) -> Response:
    """Return the response with CORS headers if the request comes from one of the origins, else unchanged."""
    origin = request.headers.get(b"origin")
    if origin is None or origin not in origins:
        return response
    # `Vary`, or a cache on the way could give one origin the answer that names another (Fetch, CORS protocol and HTTP caches).
    headers = [(b"access-control-allow-origin", origin), (b"vary", b"Origin"), _EXPOSED]
    allowed = dict(response.headers).get(b"allow")
    if request.method == "OPTIONS" and allowed:
        headers += [(b"access-control-allow-methods", allowed), *_PREFLIGHT]
    return replace(response, headers=(*response.headers, *headers))
