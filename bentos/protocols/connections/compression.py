"""Compressed bodies of requests and messages of gRPC, inflated no further than a limit: a small one may be of gigabytes (a "zip bomb")."""

from __future__ import annotations

import zlib

from bentos.errors import BodyTooLongError
from contract.errors import RequestError

# By their names in HTTP (RFC 9110, section 8.4.1) and gRPC, what zlib knows them as: gzip's and its own format.
CODINGS = {b"gzip": 16 + zlib.MAX_WBITS, b"deflate": zlib.MAX_WBITS}


def inflated(content: bytes, coding: bytes, limit_bytes: int) -> bytes:
    """Return the content without its compression, one of `CODINGS`.

    Raises:
        BodyTooLongError: it is of more than `limit_bytes` then; no more than these were made.
        RequestError: it is not compressed so, or cut off.
    """
    reader = zlib.decompressobj(CODINGS[coding])
    try:
        plain = reader.decompress(content, limit_bytes + 1)
    except zlib.error:
        raise RequestError(f"the body is not compressed by {coding.decode()}, or is broken") from None
    if len(plain) > limit_bytes:
        raise BodyTooLongError(limit_bytes)
    if not reader.eof or reader.unused_data:
        raise RequestError(f"the body is not one whole stream of {coding.decode()}")
    return plain
