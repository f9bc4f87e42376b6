"""What an application says to its server (ASGI), and a response in one write.

uvicorn writes the head of a response and its body apart, by a system call each. The second costs a good part of what the rest of a
request does; and a replica that is killed between the two has sent a head that no proxy can take back, so that its caller gets
half of a response instead of another replica's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Coroutine[Any, Any, Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class JoinedWrites:
    """A transport that keeps what is written until it is flushed or closed; all else is that of the transport behind it."""

    __slots__ = ("_kept", "_transport")

    def __init__(self, transport: Any) -> None:
        self._transport = transport
        self._kept: list[bytes] = []

    def write(self, data: bytes) -> None:
        self._kept.append(data)

    def flush(self) -> None:
        if self._kept:
            self._transport.write(b"".join(self._kept))
            self._kept.clear()

    def close(self) -> None:
        self.flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


async def send_together(send: Send, *messages: Message) -> None:
    """Send these messages of ASGI by one write; by a server that is not uvicorn, as it sends them."""
    exchange = getattr(send, "__self__", None)
    transport = getattr(exchange, "transport", None)
    if exchange is None or transport is None:
        for message in messages:
            await send(message)
        return
    exchange.transport = joined = JoinedWrites(transport)
    try:
        for message in messages:
            await send(message)
    finally:
        exchange.transport = transport
        joined.flush()
