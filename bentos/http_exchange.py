"""One HTTP request in, one response out, over ASGI: reading a body within limits, and answering without waiting for the rest."""

from __future__ import annotations

import asyncio
import types
from collections.abc import Awaitable, Coroutine, Generator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from bentos.asgi import Message, Receive, Send, send_together
from bentos.core import Limits
from bentos.errors import BodyTimeoutError, BodyTooLongError
from contract.errors import UnsupportedTypeError

Headers = dict[bytes, bytes]

JSON = b"application/json"
# A caller that is refused while it still sends gets to read the answer if the rest is no more than this, within this time.
_LINGER_BYTES = 8 * 1024 * 1024
_LINGER_S = 2.0


class DisconnectedError(Exception):
    """The caller went away before its request was complete; nobody waits for an answer."""


@dataclass(frozen=True, slots=True)
class Response:
    """A complete response.

    Attributes:
        close: end the connection after it, since the request was not read to its end.
        linger: read on for a moment before that, since the caller still sends.
    """

    status: int
    body: bytes
    content_type: bytes = JSON
    headers: tuple[tuple[bytes, bytes], ...] = field(default=())
    close: bool = False
    linger: bool = False


def media_type(headers: Headers) -> bytes:
    """The content type, lower-case, without parameters; empty if there is none."""
    return _content_type(headers.get(b"content-type", b""))[0]


def check_encoding(headers: Headers) -> None:
    """Refuse bodies that would have to be decompressed, and charsets that are not UTF-8."""
    if headers.get(b"content-encoding", b"identity").strip().lower() not in (b"identity", b""):
        raise UnsupportedTypeError("compressed bodies are not accepted; send the body without Content-Encoding")
    if _content_type(headers.get(b"content-type", b""))[1] not in (b"", b"utf-8", b"utf8", b"us-ascii"):
        raise UnsupportedTypeError("the charset must be UTF-8")


@lru_cache(maxsize=16)  # callers say the same again and again
def _content_type(value: bytes) -> tuple[bytes, bytes]:
    """The media type, and the charset or nothing, of a Content-Type."""
    name, _, parameters = value.lower().partition(b";")
    charset = parameters.replace(b" ", b"").replace(b'"', b"").partition(b"charset=")[2]
    return name.strip(), charset.partition(b";")[0]


async def read_body(headers: Headers, receive: Receive, limits: Limits) -> bytes:
    """The request's body.

    Raises:
        BodyTooLongError: more than `limits.body_limit_bytes`, by its declared length or by what arrives.
        BodyTimeoutError: not complete within `limits.body_timeout_s`.
        DisconnectedError: the caller is gone.
    """
    declared = headers.get(b"content-length", b"")
    if declared.isdigit() and int(declared) > limits.body_limit_bytes:
        raise _too_long(limits)
    arriving = receive()
    try:
        waiting_for = arriving.send(None)
    except StopIteration as here:  # as for nearly every short body: a timer would cost more than the rest of this
        first, more = _chunk(here.value, limits)
        if not more:
            return first
        return first + await _rest(receive(), receive, limits, len(first))
    return await _rest(_continued(arriving, waiting_for), receive, limits)


async def _rest(arriving: Awaitable[Message], receive: Receive, limits: Limits, size: int = 0) -> bytes:
    """What is still to come of a body after its first `size` bytes; `arriving` is the next message."""
    chunks: list[bytes] = []
    more = True
    try:
        async with asyncio.timeout(limits.body_timeout_s):
            while more:
                chunk, more = _chunk(await arriving, limits, size)
                chunks.append(chunk)
                size += len(chunk)
                if more:
                    arriving = receive()
    except TimeoutError:
        raise BodyTimeoutError(f"the body did not arrive within {limits.body_timeout_s:g} s") from None
    return b"".join(chunks)


def _chunk(message: Message, limits: Limits, before: int = 0) -> tuple[bytes, bool]:
    """The part of the body in a message, and whether more follows."""
    if message["type"] != "http.request":
        raise DisconnectedError
    chunk: bytes = message.get("body", b"")
    if before + len(chunk) > limits.body_limit_bytes:
        raise _too_long(limits)
    return chunk, message.get("more_body", False)


@types.coroutine
def _continued(begun: Coroutine[Any, Any, Message], waiting_for: Any) -> Generator[Any, Any, Message]:
    """Awaits a coroutine that has run already, up to where it waits."""
    try:
        yield waiting_for
    except BaseException:
        begun.close()
        raise
    message: Message = yield from begun
    return message


def _too_long(limits: Limits) -> BodyTooLongError:
    return BodyTooLongError(f"the body is longer than {limits.body_limit_bytes} bytes")


async def respond(response: Response, version: bytes, receive: Receive, send: Send) -> None:
    """Send the response, naming the model's version in it."""
    headers = [
        (b"content-type", response.content_type),
        (b"content-length", b"%d" % len(response.body)),
        (b"x-model-version", version),
        *response.headers,
    ]
    if response.close:
        headers.append((b"connection", b"close"))
    start = {"type": "http.response.start", "status": response.status, "headers": headers}
    body = {"type": "http.response.body", "body": response.body, "more_body": response.linger}
    await send_together(send, start, body)
    if response.linger:
        await _linger(receive)
        await send({"type": "http.response.body", "body": b""})


async def _linger(receive: Receive) -> None:
    """Closing while the caller still sends would reset the connection before it reads the answer."""
    size = 0
    more = True
    try:
        async with asyncio.timeout(_LINGER_S):
            while more and size < _LINGER_BYTES:
                message = await receive()
                size += len(message.get("body", b""))
                more = message.get("more_body", False)
    except TimeoutError:
        pass
