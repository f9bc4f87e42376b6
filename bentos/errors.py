"""Errors of a request before its rows are read; they extend the tree of `contract.errors`.

RequestError                     HTTP 400, gRPC INVALID_ARGUMENT
├── InvalidRowsError (contract)       422, gRPC INVALID_ARGUMENT (OIP over HTTP: 400)
├── TooLargeError (contract)          413, gRPC RESOURCE_EXHAUSTED
│   └── BodyTooLongError              the body was not read to its end
├── UnsupportedTypeError (contract)   415
│   └── UnsupportedCodingError
├── UnauthorizedError                 401, gRPC UNAUTHENTICATED
├── NotFoundError                     404, gRPC NOT_FOUND
├── MethodNotAllowedError             405
├── HeadTooLongError                  431
├── TargetTooLongError                414
├── HeadTimeoutError                  408, the head was not read to its end
├── BodyTimeoutError                  408, gRPC DEADLINE_EXCEEDED; the body was not read to its end
├── DeadlineError                     504, gRPC DEADLINE_EXCEEDED
├── UnimplementedError                501, gRPC UNIMPLEMENTED
│   └── CompressedError
├── CompressedFlagError               gRPC INTERNAL
├── UnsupportedVersionError           505
├── DefectError                       500, gRPC INTERNAL; the server's fault, not the caller's
├── StoppingError                     gRPC UNAVAILABLE; another server may answer
└── OverloadedError                   503, gRPC RESOURCE_EXHAUSTED; a retry may succeed
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterable

from contract.errors import RequestError, TooLargeError, UnsupportedTypeError

INTERNAL = "internal"
_SHOWN = 10

logger = logging.getLogger(__name__)


class UnauthorizedError(RequestError):
    """The request has no valid API key."""

    status = 401
    code = "unauthorized"


class NotFoundError(RequestError):
    """No such path, model, version or service."""

    status = 404
    code = "not_found"


class MethodNotAllowedError(RequestError):
    """The path exists, but does not support the method.

    Attributes:
        allowed: the supported methods, in the form of the `Allow` header.
    """

    status = 405
    code = "method_not_allowed"

    def __init__(self, allowed: Iterable[str]) -> None:
        self.allowed = ", ".join(allowed)
        super().__init__(f"this path supports only {self.allowed}")


class BodyTooLongError(TooLargeError):
    """The body exceeds `body_limit_bytes`."""

    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"the body is longer than {limit_bytes} bytes")


class HeadTooLongError(RequestError):
    """The headers exceed `head_limit_bytes` or `head_limit_count`."""

    status = 431
    code = "headers_too_large"


class TargetTooLongError(RequestError):
    """The request's target exceeds `target_limit_bytes`."""

    status = 414
    code = "target_too_long"

    def __init__(self) -> None:
        super().__init__("the request target is too long")


class HeadTimeoutError(RequestError):
    """The headers were not complete within `head_timeout_s`."""

    status = 408
    code = "head_timeout"

    def __init__(self, limit_s: float) -> None:
        super().__init__(f"the headers did not arrive within {limit_s:g} s")


class BodyTimeoutError(RequestError):
    """The body was not complete within `body_timeout_s`."""

    status = 408
    code = "body_timeout"

    def __init__(self, limit_s: float) -> None:
        super().__init__(f"the body did not arrive within {limit_s:g} s")


class DeadlineError(RequestError):
    """The caller's deadline is exceeded, or would be before the answer."""

    status = 504
    code = "deadline_exceeded"

    def __init__(self) -> None:
        super().__init__("deadline exceeded: it has passed, or would pass before the answer")


class UnimplementedError(RequestError):
    """A method, a coding or a part of a protocol that the server does not support."""

    status = 501
    code = "unimplemented"


class CompressedError(UnimplementedError):
    """The call's `grpc-encoding` is unsupported."""

    def __init__(self) -> None:
        super().__init__("unsupported grpc-encoding; compress messages with gzip or deflate, or not at all")


class CompressedFlagError(RequestError):
    """A message is flagged as compressed in a call without grpc-encoding; INTERNAL, by gRPC's compression.md."""

    status = 500

    def __init__(self) -> None:
        super().__init__("a message is flagged as compressed, but the call has no grpc-encoding")


class UnsupportedCodingError(UnsupportedTypeError):
    """The body's `Content-Encoding` is unsupported."""

    def __init__(self) -> None:
        super().__init__("unsupported Content-Encoding; compress the body with gzip or deflate, or not at all")


class UnsupportedVersionError(RequestError):
    """The version of HTTP is neither 1.1 nor 1.0."""

    status = 505
    code = "http_version_not_supported"

    def __init__(self) -> None:
        super().__init__("unsupported HTTP version; send HTTP/1.1 or HTTP/1.0")


class DefectError(RequestError):
    """A defect of the server; the message gives the caller no detail of it."""

    status = 500
    code = INTERNAL

    def __init__(self) -> None:
        super().__init__("internal server error; the request may be valid")


class StoppingError(RequestError):
    """The server is shutting down."""

    status = 502
    code = "stopping"

    def __init__(self) -> None:
        super().__init__("the server is shutting down")


class OverloadedError(RequestError):
    """The server is overloaded.

    Attributes:
        retry_after_s: seconds after which to retry.
    """

    status = 503
    code = "overloaded"
    retry_after_s = 1

    def __init__(self, message: str = "the server is overloaded; try again later") -> None:
        super().__init__(message)


def one_line(error: RequestError) -> str:
    """Return the error as one bounded line, for protocols whose errors are plain text."""
    shown = "; ".join(str(problem) for problem in error.problems[:_SHOWN])
    more = f"; and {len(error.problems) - _SHOWN} more" if len(error.problems) > _SHOWN else ""
    return f"{error.message}: {shown}{more}" if shown else error.message


def log_defect(error: BaseException) -> None:
    """Log a defect of the server: the exception's type and traceback, not its text, which may quote a value."""
    # `format_tb`, not `format_exception`: exceptions of parsers and of NumPy quote what they could not read.
    where = "".join(traceback.format_tb(error.__traceback__))
    logger.error("a request failed because of a server defect: %s\n%s", type(error).__name__, where)
