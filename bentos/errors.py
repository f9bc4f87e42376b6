"""What can be wrong with a request before its rows are looked at; these extend the error tree of `contract.errors`.

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
├── DefectError                       500, gRPC INTERNAL; ours, not the caller's
├── StoppingError                     gRPC UNAVAILABLE; another server may answer
└── OverloadedError                   503, gRPC RESOURCE_EXHAUSTED; a later try may succeed
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
    status = 401
    code = "unauthorized"


class NotFoundError(RequestError):
    status = 404
    code = "not_found"


class MethodNotAllowedError(RequestError):
    """The path exists, but not for this method.

    Attributes:
        allowed: the methods that it takes, as the `Allow` header has them.
    """

    status = 405
    code = "method_not_allowed"

    def __init__(self, allowed: Iterable[str]) -> None:
        self.allowed = ", ".join(allowed)
        super().__init__(f"this path takes {self.allowed} only")


class BodyTooLongError(TooLargeError):
    def __init__(self, limit_bytes: int) -> None:
        super().__init__(f"the body is longer than {limit_bytes} bytes")


class HeadTooLongError(RequestError):
    status = 431
    code = "headers_too_large"


class TargetTooLongError(RequestError):
    status = 414
    code = "target_too_long"

    def __init__(self) -> None:
        super().__init__("the request's target is too long")


class HeadTimeoutError(RequestError):
    status = 408
    code = "head_timeout"

    def __init__(self, limit_s: float) -> None:
        super().__init__(f"the headers did not arrive within {limit_s:g} s")


class BodyTimeoutError(RequestError):
    status = 408
    code = "body_timeout"

    def __init__(self, limit_s: float) -> None:
        super().__init__(f"the body did not arrive within {limit_s:g} s")


class DeadlineError(RequestError):
    """What the caller would wait for is over."""

    status = 504
    code = "deadline_exceeded"

    def __init__(self) -> None:
        super().__init__("the deadline of the call has passed, or will have before there is an answer")


class UnimplementedError(RequestError):
    status = 501
    code = "unimplemented"


class CompressedError(UnimplementedError):
    def __init__(self) -> None:
        super().__init__("messages compressed so are not accepted; compress them by gzip or deflate, or not at all")


class CompressedFlagError(RequestError):
    """A message is flagged as compressed in a call that does not say how; INTERNAL, by gRPC's compression.md."""

    status = 500

    def __init__(self) -> None:
        super().__init__("a message is flagged as compressed, but the call has no grpc-encoding")


class UnsupportedCodingError(UnsupportedTypeError):
    def __init__(self) -> None:
        super().__init__(
            "the body is compressed in a way that is not accepted; compress it by gzip or deflate, or not at all"
        )


class UnsupportedVersionError(RequestError):
    status = 505
    code = "http_version_not_supported"

    def __init__(self) -> None:
        super().__init__("the version of HTTP is not supported; send requests of version 1.1 or 1.0")


class DefectError(RequestError):
    """A defect of the server, as its caller may know of it."""

    status = 500
    code = INTERNAL

    def __init__(self) -> None:
        super().__init__("the server failed; the request may be right")


class StoppingError(RequestError):
    status = 502
    code = "stopping"

    def __init__(self) -> None:
        super().__init__("the server stops")


class OverloadedError(RequestError):
    """The server has too much to do.

    Attributes:
        retry_after_s: when another try makes sense.
    """

    status = 503
    code = "overloaded"
    retry_after_s = 1

    def __init__(self, message: str = "the server has more to do than it can; try again later") -> None:
        super().__init__(message)


def one_line(error: RequestError) -> str:
    """The error as one bounded line, for protocols whose errors are plain text."""
    shown = "; ".join(str(problem) for problem in error.problems[:_SHOWN])
    more = f"; and {len(error.problems) - _SHOWN} more" if len(error.problems) > _SHOWN else ""
    return f"{error.message}: {shown}{more}" if shown else error.message


def log_defect(error: BaseException) -> None:
    """Log an exception that is our own defect: its type and where it was raised, not its text, which may quote a value."""
    where = "".join(traceback.format_tb(error.__traceback__))
    logger.error("a request failed by a defect of the server: %s\n%s", type(error).__name__, where)
