"""The open-loop generator's connections, before servers that end them."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import closing
from threading import Thread

import pytest

from bentos.protocols.http2.frames import (
    ACK,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEAD,
    HEAD_BYTES,
    HEADERS,
    LARGEST_STREAM,
    PREFACE,
    SETTINGS,
    frame,
)
from harness.load.open_loop import OpenLoad
from harness.load.wires import GrpcConnection

OK = frame(HEADERS, END_HEADERS, 1, b"\x88") + frame(DATA, END_STREAM, 1, b"\0\0\0\0\0")


def read(connection: socket.socket, size: int) -> bytes:
    return connection.recv(size, socket.MSG_WAITALL)


def answer_one(listening: socket.socket, last_stream: int) -> None:
    """Accept one connection; end it once its first call has come, and then answer that."""
    connection, _ = listening.accept()
    with connection:
        read(connection, len(PREFACE))
        connection.sendall(frame(SETTINGS, 0, 0) + frame(SETTINGS, ACK, 0))
        kind = None
        while kind != DATA:
            high, low, kind, _, _ = HEAD.unpack(read(connection, HEAD_BYTES))
            read(connection, high << 16 | low)
        connection.sendall(frame(GOAWAY, 0, 0, struct.pack(">LL", last_stream, 0)) + OK)
        connection.recv(1)  # until the caller closes it


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield server


def load(listening: socket.socket, last_stream: int) -> OpenLoad:
    threads = [Thread(target=answer_one, args=(listening, last_stream), daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    port = listening.getsockname()[1]
    ran = OpenLoad(lambda: GrpcConnection(port), [b"x"], max_connections=10)
    ran.run([0.0, 0.5])
    return ran


def test_call_is_answered_and_the_next_one_has_a_new_connection_when_the_server_goes_away(
    listening: socket.socket,
) -> None:
    ran = load(listening, LARGEST_STREAM)
    assert (ran.lost, len(ran.outcomes["OK"]), ran.connections) == (0, 2, 2)


def test_call_is_lost_when_the_server_goes_away_without_having_taken_it(listening: socket.socket) -> None:
    ran = load(listening, last_stream=0)
    assert (ran.lost, ran.outcomes, ran.connections) == (2, {}, 2)
