"""Head and body of a response leave together, through the very protocol of uvicorn that serves them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from bentos.http_exchange import Response, respond

REQUEST = b"GET / HTTP/1.1\r\nhost: here\r\n\r\n"
PROTOCOLS = [HttpToolsProtocol, H11Protocol]


class Recorder(asyncio.Transport):
    """What a protocol does with its connection."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[bytes] = []

    def write(self, data: Any) -> None:
        self.done.append(bytes(data))

    def close(self) -> None:
        self.done.append(b"closed")

    def is_closing(self) -> bool:
        return b"closed" in self.done

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None: ...

    def resume_reading(self) -> None: ...

    def pause_reading(self) -> None: ...


def done_by(protocol_class: Any, response: Response, request: bytes = REQUEST) -> list[bytes]:
    """What a server does with the connection when the application gives this response to the request."""

    async def application(scope: Any, receive: Any, send: Any) -> None:
        await respond(response, b"v1", receive, send)

    async def exchange() -> list[bytes]:
        config = Config(application, log_config=None, lifespan="off", date_header=False, server_header=False)
        protocol = protocol_class(config, ServerState(), {}, asyncio.get_running_loop())
        recorder = Recorder()
        protocol.connection_made(recorder)
        protocol.data_received(request)
        await asyncio.gather(*list(protocol.tasks))
        await asyncio.gather(*list(protocol.tasks))
        done = list(recorder.done)
        protocol.connection_lost(None)
        return done

    return asyncio.run(exchange())


@pytest.mark.parametrize("protocol_class", PROTOCOLS)
def test_head_and_body_are_one_write(protocol_class: Any) -> None:
    (written,) = done_by(protocol_class, Response(200, b'{"a": 1}'))
    head, _, body = written.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"x-model-version: v1" in head
    assert body == b'{"a": 1}'


@pytest.mark.parametrize("protocol_class", PROTOCOLS)
def test_connection_is_closed_after_what_was_written(protocol_class: Any) -> None:
    written, end = done_by(protocol_class, Response(413, b"{}", close=True))
    assert written.endswith(b"\r\n\r\n{}")
    assert end == b"closed"


def test_each_of_two_requests_that_came_together_is_answered_by_one_write() -> None:
    written = done_by(HttpToolsProtocol, Response(200, b"{}"), REQUEST * 2)
    assert [content[-6:] for content in written] == [b"\r\n\r\n{}"] * 2
