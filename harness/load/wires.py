"""Connections of the open-loop generator: requests and answers in HTTP/1.1, and in gRPC over HTTP/2."""

from __future__ import annotations

import re
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from typing import Protocol

from bentos.protocols.http2.frames import (
    ACK,
    DATA,
    END_HEADERS,
    END_STREAM,
    FRAME_BYTES,
    GOAWAY,
    HEAD,
    HEAD_BYTES,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    LARGEST_WINDOW_BYTES,
    PING,
    PREFACE,
    RST_STREAM,
    SETTING,
    SETTINGS,
    WINDOW_BYTES,
    WINDOW_UPDATE,
    frame,
    settings,
    window_update,
)

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_CHUNK = 1 << 18
_LIMIT_S = 60  # for the slowest peer, on a busy machine

Outcome = tuple[float, str]  # the time at which the request was due, and its result


class LostConnectionError(Exception):
    """The server closed the connection.

    Attributes:
        requests: number of its requests without an answer.
    """

    def __init__(self, requests: int) -> None:
        super().__init__(f"the server closed a connection with {requests} requests in flight")
        self.requests = requests


class Connection(Protocol):
    """A connection that may take a request whenever `is_free`."""

    socket: socket.socket

    @property
    def is_free(self) -> bool:
        """True if it can take a request."""

    def send(self, payload: bytes, intended: float) -> None:
        """Send a request that was due at `intended`."""

    def receive(self) -> list[Outcome]:
        """Read what has arrived; return the outcomes that it completes."""


def connect(port: int) -> socket.socket:
    """Connect to a port of the loopback interface, without Nagle's algorithm."""
    connection = socket.create_connection(("127.0.0.1", port), _LIMIT_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _received(connection: socket.socket, waiting: int) -> bytes:
    """Return the received bytes.

    Raises:
        LostConnectionError: the connection ended with `waiting` requests in flight.
    """
    try:
        chunk = connection.recv(_CHUNK)
    except OSError:
        chunk = b""
    if not chunk:
        raise LostConnectionError(waiting)
    return chunk


class HttpConnection:
    """HTTP/1.1, one request at a time; the outcome is the status. An answer needs a Content-Length."""

    def __init__(self, port: int) -> None:
        self.socket = connect(port)
        self._intended: float | None = None
        self._response = b""
        self._ends = False

    @property
    def is_free(self) -> bool:
        return self._intended is None and not self._ends

    def send(self, payload: bytes, intended: float) -> None:
        self._intended = intended
        with suppress(OSError):  # a reset, reported by the next receive()
            self.socket.sendall(payload)

    def receive(self) -> list[Outcome]:
        """Read what has arrived; return the outcomes that it completes.

        Raises:
            LostConnectionError: the server closed the connection.
        """
        self._response += _received(self.socket, 0 if self._intended is None else 1)
        end = self._response.find(b"\r\n\r\n")
        length = LENGTH.search(self._response, 0, end + 2) if end >= 0 else None
        if length is None or self._intended is None or len(self._response) < end + 4 + int(length[1]):
            return []
        head, body = self._response[: end + 2], self._response[end + 4 :]
        done = [(self._intended, self.outcome(head, body))]
        self._ends = b"\r\nconnection: close\r\n" in head.lower()
        self._intended, self._response = None, b""
        return done

    def outcome(self, head: bytes, body: bytes) -> str:  # noqa: ARG002  # for subclasses that know the right body
        """Return the outcome of an answer, here its status; subclasses check the body."""
        return head[9:12].decode()


_STREAMS = 100  # concurrent ones of a connection, the limit of many servers
GREETING = PREFACE + frame(SETTINGS, 0, 0)


def frames(received: bytes) -> Iterator[tuple[int, int]]:
    """Yield kind and flags of each frame that has begun."""
    while len(received) >= HEAD_BYTES:
        high, low, kind, flags, _ = HEAD.unpack_from(received)
        yield kind, flags
        received = received[HEAD_BYTES + (high << 16 | low) :]


def literal(name: bytes, value: bytes) -> bytes:
    """Return a header field without indexing and Huffman code. Source: RFC 7541, section 6.2.2."""
    return b"\x00%c%b%c%b" % (len(name), name, len(value), value)


REQUEST_HEAD = b"".join(
    literal(name, value)
    for name, value in (
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", b"/inference.GRPCInferenceService/ModelInfer"),
        (b":authority", b"127.0.0.1"),
        (b"content-type", b"application/grpc"),
        (b"te", b"trailers"),
    )
)


class GrpcConnection:
    """gRPC calls of ModelInfer over HTTP/2, many at a time.

    The outcome is `OK` for a call that got a message, else `refused`: header fields are not decompressed here, so the status of a
    rejection is found in the server's metrics. After GOAWAY it takes no more calls, and those that the server still answers go on.
    """

    def __init__(self, port: int) -> None:
        self.socket = connect(port)
        self._next = 1
        self._calls: dict[int, tuple[float, bytes]] = {}
        self._answers: dict[int, bytes] = {}
        self._ends = False
        self._buffer = b""
        self._window = self._stream_window = WINDOW_BYTES
        self._need = 0
        # The largest windows for answers, so that the generator needs no further WINDOW_UPDATE.
        greeting = settings({INITIAL_WINDOW_SIZE: LARGEST_WINDOW_BYTES})
        self.socket.sendall(PREFACE + greeting + window_update(0, LARGEST_WINDOW_BYTES - WINDOW_BYTES))

    @property
    def is_free(self) -> bool:
        return not self._ends and len(self._calls) < _STREAMS and self._window >= self._need

    def send(self, payload: bytes, intended: float) -> None:
        message = struct.pack(">BI", 0, len(payload)) + payload
        if len(message) > self._stream_window:
            raise ValueError(
                f"a message of {len(message)} bytes exceeds the HTTP/2 window of this generator; send fewer rows"
            )
        stream, self._next = self._next, self._next + 2
        self._calls[stream] = intended, payload
        self._window -= len(message)
        self._need = max(
            self._need, len(message)
        )  # is_free must know before the next message, so it reserves the largest so far
        pieces = [message[first : first + FRAME_BYTES] for first in range(0, len(message), FRAME_BYTES)]
        frames = [frame(HEADERS, END_HEADERS, stream, REQUEST_HEAD)]
        frames += [frame(DATA, END_STREAM if piece is pieces[-1] else 0, stream, piece) for piece in pieces]
        with suppress(OSError):
            self.socket.sendall(b"".join(frames))

    def receive(self) -> list[Outcome]:
        """Read what has arrived; return the outcomes that it completes.

        Raises:
            LostConnectionError: the server closed the connection.
        """
        data, position, done = self._buffer + _received(self.socket, len(self._calls)), 0, []
        while len(data) - position >= HEAD_BYTES:
            high, low, kind, flags, stream = HEAD.unpack_from(data, position)
            size = high << 16 | low
            if len(data) - position - HEAD_BYTES < size:
                break
            position += HEAD_BYTES + size
            if self._take(kind, flags, stream, data[position - size : position]):
                intended, asked = self._calls.pop(stream)
                done.append((intended, self.outcome(asked, self._answers.pop(stream, b""))))
        self._buffer = data[position:]
        return done

    def outcome(self, asked: bytes, answer: bytes) -> str:  # noqa: ARG002  # for subclasses that know the right answer
        """Return the outcome of a call, of its message and the answer with its prefix; subclasses check the answer."""
        return "OK" if answer else "refused"

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> bool:
        """Tell whether a frame ends a call."""
        if kind == DATA and payload:
            self._answers[stream] = self._answers.get(stream, b"") + payload
        elif kind == WINDOW_UPDATE and not stream:
            self._window += int.from_bytes(payload, "big")
        elif kind == SETTINGS and not flags & ACK:
            self._stream_window = dict(SETTING.iter_unpack(payload)).get(INITIAL_WINDOW_SIZE, self._stream_window)
            self.socket.sendall(frame(SETTINGS, ACK, 0))
        elif kind == PING and not flags & ACK:
            self.socket.sendall(frame(PING, ACK, 0, payload))
        elif kind == GOAWAY:
            self._ends = True
            # Clients may send the calls after the last one again, but a server that ends in order has none.
            if any(call > int.from_bytes(payload[:4], "big") for call in self._calls):
                raise LostConnectionError(len(self._calls))
        if stream not in self._calls:
            return False
        return kind == RST_STREAM or (kind in (DATA, HEADERS) and bool(flags & END_STREAM))
