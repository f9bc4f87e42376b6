"""The HTTP front door in this process, on a thread of its own, under uvicorn as BentoML starts it; and a connection to it."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import uvicorn
import uvloop

from bentos.core import Core
from bentos.http_app import HttpApp
from bentos.http_protocol import protocol_for

PAGE = b"a page of BentoML's"


@dataclass
class FrontDoor:
    """A running server; pages of BentoML's are answered once `pages` is set."""

    port: int
    protocol: Any
    server: uvicorn.Server
    pages: threading.Event = field(default_factory=threading.Event)

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
def front_door(core: Core, keep_alive_s: int = 5) -> Iterator[FrontDoor]:
    """Serves on a free port until the context ends; ends gracefully then, which must work."""
    listening = socket.create_server(("127.0.0.1", 0))
    app = HttpApp(core)
    protocol = protocol_for(app)
    door = FrontDoor(listening.getsockname()[1], protocol, None)  # type: ignore[arg-type]
    door.pages.set()

    async def page(scope: Any, receive: Any, send: Any) -> None:
        while not door.pages.is_set():
            await asyncio.sleep(0.005)
        await send({"type": "http.response.start", "status": 299, "headers": [(b"content-length", b"%d" % len(PAGE))]})
        await send({"type": "http.response.body", "body": PAGE})

    config = uvicorn.Config(
        page,
        http=protocol,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        timeout_keep_alive=keep_alive_s,
    )
    door.server = uvicorn.Server(config)
    thread = threading.Thread(target=uvloop.run, args=[door.server.serve([listening])])
    thread.start()
    try:
        while not door.server.started:
            time.sleep(0.005)
        yield door
    finally:
        door.pages.set()
        door.server.should_exit = True
        thread.join(15)
        assert not thread.is_alive(), "the server did not end"


def request(path: str, body: bytes = b"", *headers: str, method: str = "POST") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: x", *headers]
    if method == "POST":
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


def get(path: str, *headers: str) -> bytes:
    return request(path, b"", *headers, method="GET")


def rest(connection: socket.socket) -> bytes:
    """What still comes until the server closes."""
    return b"".join(iter(lambda: connection.recv(1 << 16), b""))


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
