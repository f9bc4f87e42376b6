"""The framing of gRPC over HTTP/2: statuses, their field blocks, timeouts, and the prefix of a message.

Source: https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md and statuscodes.md.
"""

from __future__ import annotations

import math
import re
from enum import IntEnum
from urllib.parse import quote_from_bytes

from bentos.errors import (
    BodyTooLongError,
    CompressedError,
    CompressedFlagError,
    OverloadedError,
    UnimplementedError,
    one_line,
)
from bentos.protocols.connections.compression import CODINGS
from bentos.protocols.http2.fields import block
from contract.errors import RequestError, UnsupportedTypeError

Packed = tuple[bytes, bytes]  # a message, and the coding of its compression; empty if it is not compressed
PREFIX_BYTES = 5  # of each message: compressed flag and length
START = block([(b"content-type", b"application/grpc")], 200)
SUCCESS = block([(b"grpc-status", b"0")])
_MESSAGE_BYTES = 4096  # of an error's text; callers bound their metadata by 8 KiB
_PLAIN = bytes(byte for byte in range(0x20, 0x7F) if byte != ord("%")).decode()
_TIMEOUT = re.compile(rb"([0-9]{1,8})([HMSmun])").fullmatch
_UNITS_S = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_SUBTYPES = frozenset((b"application/grpc", b"application/grpc+proto"))


class Status(IntEnum):
    """The status codes of gRPC."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


_STATUSES = {
    401: Status.UNAUTHENTICATED,
    404: Status.NOT_FOUND,
    408: Status.DEADLINE_EXCEEDED,
    413: Status.RESOURCE_EXHAUSTED,
    431: Status.RESOURCE_EXHAUSTED,
    500: Status.INTERNAL,
    501: Status.UNIMPLEMENTED,
    502: Status.UNAVAILABLE,
    503: Status.RESOURCE_EXHAUSTED,
    504: Status.DEADLINE_EXCEEDED,
}


# -1 forbids a retry, since a request that is too large stays so. Source: gRPC proposal A6, client retries.
_PUSHBACKS_MS = {413: b"-1", 431: b"-1", 503: b"%d" % (1000 * OverloadedError.retry_after_s)}


def timeout_s(value: bytes) -> float:
    """Return a `grpc-timeout` in seconds; infinite without one.

    Raises:
        RequestError: the value is malformed.
    """
    if not value:
        return math.inf
    found = _TIMEOUT(value)
    if found is None:
        raise RequestError("grpc-timeout must be a number of at most 8 digits and one of the units H, M, S, m, u, n")
    return int(found[1]) * _UNITS_S[found[2]]


def check_content_type(value: bytes) -> None:
    """Raise UnsupportedTypeError unless the messages are protobuf."""
    if value.partition(b";")[0].strip().lower() not in _SUBTYPES:
        raise UnsupportedTypeError("the content type must be application/grpc, with protobuf messages")


def refusal(error: RequestError, version: bytes, *, started: bool = False) -> bytes:
    """Return the block that ends a call with an error: trailers if an answer was `started`, else the whole answer."""
    fields = [
        (b"grpc-status", b"%d" % _STATUSES.get(error.status, Status.INVALID_ARGUMENT)),
        (b"grpc-message", _text(one_line(error))),
        (b"x-model-version", version),
    ]
    if isinstance(error, CompressedError):
        fields.append((b"grpc-accept-encoding", b",".join((b"identity", *CODINGS))))
    if error.status in _PUSHBACKS_MS:
        fields.append((b"grpc-retry-pushback-ms", _PUSHBACKS_MS[error.status]))
    if started:
        return block(fields)
    # A client that does not speak gRPC must not take the answer for a success of HTTP.
    status = error.status if isinstance(error, UnsupportedTypeError) else 200
    return block([(b"content-type", b"application/grpc"), *fields], status)


def _text(message: str) -> bytes:
    """Return a bounded message, percent-encoded for `grpc-message`."""
    quoted = quote_from_bytes(message.encode(), _PLAIN)[:_MESSAGE_BYTES]
    return re.sub("%.?$", "", quoted).encode()  # the bound may cut an escape in two


def with_prefix(message: bytes) -> bytes:
    """Return an uncompressed message with its prefix."""
    return b"".join((b"\0", len(message).to_bytes(4, "big"), message))


def message_size(body: bytes | bytearray, coding: bytes, limit_bytes: int) -> int | None:
    """Return the bytes of the first message in `body`, prefix included; None while the prefix is incomplete.

    Args:
        coding: the call's grpc-encoding.

    Raises:
        RequestError: the message is too long, or its compression is unsupported.
    """
    if len(body) < PREFIX_BYTES:
        return None
    if body[0]:
        _check_coding(body[0], coding)
    size = int.from_bytes(body[1:PREFIX_BYTES], "big")
    if size > limit_bytes:
        raise BodyTooLongError(limit_bytes)
    return PREFIX_BYTES + size


def _check_coding(flag: int, coding: bytes) -> None:
    """Raise RequestError for a compressed message that cannot be read. Source: doc/compression.md of gRPC, "Compressed-Flag"."""
    if flag != 1 or coding in (b"", b"identity"):
        raise CompressedFlagError
    if coding not in CODINGS:
        raise CompressedError


def packed(body: bytes | bytearray, size: int, coding: bytes) -> Packed:
    """Return the first message in `body`, of `size` bytes with its prefix, and its coding."""
    return bytes(body[PREFIX_BYTES:size]), coding if body[0] else b""


def only_message(body: bytes | bytearray, coding: bytes, limit_bytes: int) -> Packed:
    """Return the one message of a call's whole body.

    Raises:
        RequestError: the body holds none, a part of one, or more than one.
    """
    size = message_size(body, coding, limit_bytes)
    if size is not None and size == len(body):
        return packed(body, size, coding)
    if body and (size is None or size > len(body)):
        raise RequestError("the message is truncated")
    raise UnimplementedError("a call of this method must have exactly one message")
