"""HTTP requests and responses as the application sees them: complete, and without a connection."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Protocol

from msgspec import Struct

from bentos.errors import UnsupportedCodingError
from bentos.protocols.connections import compression
from bentos.rounds import Unscored
from contract.errors import RequestError, UnsupportedTypeError

Headers = dict[bytes, bytes]

READS = ("GET", "HEAD")
WRITES = ("POST",)
SAFE = (*READS, "OPTIONS")
JSON = b"application/json"


class Response(Struct):
    """A complete response.

    Attributes:
        close: end the connection after this response.
    """

    status: int
    body: bytes
    content_type: bytes = JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()
    close: bool = False


class Endpoint(Protocol):
    """The handler of some of the paths; `protocol` is its name in the metrics."""

    protocol: str

    def methods(self, path: str) -> tuple[str, ...]:
        """Return the methods of a path; raise NotFoundError for an unknown one."""

    def predicts(self, path: str) -> bool:
        """Return whether a POST to the path is a prediction, whose body must be read."""

    def check_head(self, path: str, headers: Headers) -> None:
        """Raise RequestError for a prediction that is rejected before its body is read."""

    def answer(self, path: str) -> Response:
        """Return the answer to a request without a body; raise RequestError for an invalid one."""

    def predict(self, headers: Headers, body: bytes) -> Response | Unscored[Response]:
        """Return the answer to a prediction, or its rows to be scored; raise RequestError for an invalid one."""

    def error(self, error: RequestError) -> tuple[int, bytes]:
        """Return status and body for a rejected request."""

    def defect(self) -> bytes:
        """Return the body for a defect of the server."""


class Request(Struct):
    """A request: its head, and its body once complete.

    Attributes:
        path: decoded, without the query.
        headers: by lower-case name; several with one name are joined by commas.
        started: the time of its first byte, by `time.perf_counter`.
        endpoint: its handler, which the application sets when it sees the head; None for a page and an unknown path, whose errors take the
            form of `/predict`.
    """

    method: str
    path: str
    headers: Headers
    started: float
    body: bytes = b""
    endpoint: Endpoint | None = None


def media_type(headers: Headers) -> bytes:
    """Return the content type, lower-case, without parameters; empty if there is none."""
    return _content_type(headers.get(b"content-type", b""))[0]


def timeout_of(headers: Headers) -> float:
    """Return the caller's timeout in seconds, by X-Request-Timeout-Ms; infinite without one.

    Raises:
        RequestError: the header is not a whole number of at most 9 digits.
    """
    value = headers.get(b"x-request-timeout-ms")
    if value is None:
        return math.inf
    if not value.isdigit() or len(value) > 9:
        raise RequestError("X-Request-Timeout-Ms must be a whole number of milliseconds")
    return int(value) / 1000


def content_coding(headers: Headers) -> bytes:
    """Return the body's Content-Encoding, lower-case; empty if it is not compressed."""
    coding = headers.get(b"content-encoding", b"").lower()
    return b"" if coding == b"identity" else coding


def check_encoding(headers: Headers) -> None:
    """Raise UnsupportedTypeError for a body in an unsupported Content-Encoding, or in a charset other than UTF-8."""
    if b"content-encoding" in headers and content_coding(headers) not in (b"", *compression.CODINGS):
        raise UnsupportedCodingError
    if _content_type(headers.get(b"content-type", b""))[1] not in (b"", b"utf-8", b"utf8", b"us-ascii"):
        raise UnsupportedTypeError("the charset must be UTF-8")


@lru_cache(maxsize=16)  # callers repeat the same value
def _content_type(value: bytes) -> tuple[bytes, bytes]:
    """Return the media type and the charset, empty if absent, of a Content-Type."""
    name, _, parameters = value.lower().partition(b";")
    charset = parameters.replace(b" ", b"").replace(b'"', b"").partition(b"charset=")[2]
    return name.strip(), charset.partition(b";")[0]
