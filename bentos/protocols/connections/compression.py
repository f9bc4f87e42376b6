"""Decompression of request bodies and gRPC messages, up to a limit: a small body may inflate to gigabytes (a "zip bomb")."""

from __future__ import annotations

import zlib

from bentos.errors import BodyTooLongError
from contract.errors import RequestError

# Names in HTTP (RFC 9110, section 8.4.1) and gRPC -> zlib's `wbits`: of gzip's format, and of zlib's own, which HTTP calls deflate.
CODINGS = {b"gzip": 16 + zlib.MAX_WBITS, b"deflate": zlib.MAX_WBITS}


def inflated(content: bytes, coding: bytes, limit_bytes: int) -> bytes:
    """Return the decompressed content; `coding` is one of `CODINGS`.

    Raises:
        BodyTooLongError: it inflates to more than `limit_bytes`; decompression stops there.
        RequestError: it is not in that coding, is truncated, or has bytes after its end.
    """
    reader = zlib.decompressobj(CODINGS[coding])
    try:
        plain = reader.decompress(content, limit_bytes + 1)
    except zlib.error:
        raise RequestError(f"the body is not valid {coding.decode()}") from None
    if len(plain) > limit_bytes:
        raise BodyTooLongError(limit_bytes)
    if not reader.eof or reader.unused_data:
        raise RequestError(
            f"the body is not one whole stream of {coding.decode()}: truncated, or followed by more bytes"
        )
    return plain
