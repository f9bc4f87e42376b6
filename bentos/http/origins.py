"""Which web pages may read the answers (CORS): those of the origins in `BULKHEAD_CORS_ORIGINS`; none, where it is not set.

Source: https://fetch.spec.whatwg.org/#http-cors-protocol.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace

from bentos.http.exchange import Request, Response
from contract.errors import ConfigurationError

VARIABLE = "BULKHEAD_CORS_ORIGINS"
# As a browser sends it: scheme, host and port in lower case, without a path.
_ORIGIN = re.compile(r"https?://(?:\[[0-9a-f:.]+\]|[a-z0-9_.-]+)(?::\d{1,5})?").fullmatch
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


def read(environment: Mapping[str, str]) -> frozenset[bytes]:
    """Return the origins of `BULKHEAD_CORS_ORIGINS`, which commas separate.

    Raises:
        ConfigurationError: one of them is no origin.
    """
    named = [part.strip() for part in environment.get(VARIABLE, "").split(",")]
    for origin in filter(None, named):
        if not _ORIGIN(origin):
            raise ConfigurationError(
                f"{VARIABLE} has {origin!r}, which is no origin: write each as browsers send it, such as https://app.example.org, "
                "in lower case, without a path, and separate them by commas"
            )
    return frozenset(origin.encode() for origin in named if origin)


def shared(response: Response, request: Request, origins: frozenset[bytes]) -> Response:
    """Return the response as a page of one of the origins may read it; as it is for any other caller."""
    origin = request.headers.get(b"origin")
    if origin is None or origin not in origins:
        return response
    headers = [(b"access-control-allow-origin", origin), (b"vary", b"Origin"), _EXPOSED]
    allowed = dict(response.headers).get(b"allow")
    if request.method == "OPTIONS" and allowed:
        headers += [(b"access-control-allow-methods", allowed), *_PREFLIGHT]
    return replace(response, headers=(*response.headers, *headers))
