"""A server in this process, on a thread of its own; and a connection to it."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import pytest
import uvloop

from bentos.core import Core
from bentos.protocols.http.http1.door import KEEP_ALIVE_S, Door
from bentos.protocols.http.server import HttpServer

T = TypeVar("T")
CLOSE = "Connection: close"


class FrontDoor:
    """A running server, of HTTP or of gRPC."""

    def __init__(self, server: Any, port: int) -> None:
        self.port = port
        self.server = server
        self._loop: asyncio.AbstractEventLoop | None = None
        self._started = threading.Event()
        self._stopping: asyncio.Event | None = None
        self._thread = threading.Thread(target=lambda: uvloop.run(self._serve()))

    @property
    def door(self) -> Door:
        return self.server.door

    async def _serve(self) -> None:
        self._loop, self._stopping = asyncio.get_running_loop(), asyncio.Event()
        await self.server.start()
        self._started.set()
        await self._stopping.wait()
        await self.server.stop(drain_s=120)

    def start(self) -> None:
        self._thread.start()
        assert self._started.wait(10)

    def begin_to_stop(self) -> None:
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)

    def stop(self) -> None:
        """Gracefully, which must work: nothing is left over to be cut off."""
        self.begin_to_stop()
        self._thread.join(100)
        assert not self._thread.is_alive(), "the server did not end"

    def look(self, at: Callable[[], T]) -> T:
        """What a function gives between two rounds of the server, on its thread."""

        async def give() -> T:
            return at()

        return asyncio.run_coroutine_threadsafe(give(), self._loop).result(10)

    @contextmanager
    def one_round(self) -> Iterator[None]:
        """What is sent meanwhile comes to the server in one round of its loop, which admission control sees as one."""
        begun, sent = threading.Event(), threading.Event()

        def wait() -> None:
            begun.set()
            assert sent.wait(10)

        admission = self.server._listener._admission
        before, admission.call_soon = admission.call_soon, self._loop.call_soon
        try:
            self._loop.call_soon_threadsafe(wait)
            assert begun.wait(10)
            yield
            sent.set()
            self.look(lambda: None)
        finally:
            sent.set()
            admission.call_soon = before

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), 10)

    def ask(self, *parts: bytes) -> bytes:
        """All that comes back until the server closes, when these parts are sent one by one."""
        with self.connect() as connection:
            for part in parts:
                connection.sendall(part)
                time.sleep(0.01 if len(parts) > 1 else 0)
            return rest(connection)


@contextmanager
def front_door(core: Core, keep_alive_s: float = KEEP_ALIVE_S) -> Iterator[FrontDoor]:
    """Serves on a free port until the context ends; ends gracefully then."""
    listening = socket.create_server(("127.0.0.1", 0))
    running = FrontDoor(HttpServer(core, listening, None, keep_alive_s), listening.getsockname()[1])
    running.start()
    try:
        yield running
    finally:
        running.stop()


def limited(core: Core, monkeypatch: pytest.MonkeyPatch, **limits: float) -> None:
    monkeypatch.setattr(core, "limits", dataclasses.replace(core.limits, **limits))


def request(path: str, body: bytes = b"", *headers: str, method: str = "POST") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: x", *headers]
    if method == "POST":
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


def get(path: str, *headers: str) -> bytes:
    return request(path, b"", *headers, method="GET")


def rest(connection: socket.socket) -> bytes:
    """What still comes until the server closes, or resets what it was sent too late to read."""
    received = bytearray()
    with suppress(ConnectionResetError):
        while chunk := connection.recv(1 << 16):
            received += chunk
    return bytes(received)


def responses(received: bytes) -> list[tuple[int, dict[str, str], bytes]]:
    """Status, headers and body of every response in what was received; 100 Continue is one."""
    found = []
    position = 0
    while position < len(received):
        end = received.index(b"\r\n\r\n", position)
        status, *lines = received[position:end].decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        position = end + 4 + int(headers.get("content-length", 0))
        assert len(received) >= position
        found.append((int(status.split()[1]), headers, received[end + 4 : position]))
    return found


def one_response(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """The next response, while the connection stays open."""
    received = b""
    while b"\r\n\r\n" not in received:
        chunk = connection.recv(1 << 16)
        assert chunk, f"closed after {received!r}"
        received += chunk
    head = received.partition(b"\r\n\r\n")[0].decode().lower()
    length = int(head.partition("content-length: ")[2].partition("\r\n")[0] or 0)
    while len(received) < len(head) + 4 + length:
        chunk = connection.recv(1 << 16)
        assert chunk, "closed within a body"
        received += chunk
    (response,) = responses(received)
    return response


def predictions(content: bytes) -> Any:
    return json.loads(content)["predictions"]
