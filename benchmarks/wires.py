"""Connections of the open-loop generator: what a request and its answer are in HTTP/1.1, and in gRPC over HTTP/2. Standard library only."""

from __future__ import annotations

import re
import socket
import struct
from collections.abc import Iterator
from contextlib import suppress
from typing import Protocol

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_CHUNK = 1 << 18
_LIMIT_S = 60  # the slowest peer, on a busy machine

Outcome = tuple[float, str]  # when the request was to be sent, and what became of it


class LostConnectionError(Exception):
    """The server closed the connection.

    Attributes:
        requests: how many on it have no answer.
    """

    def __init__(self, requests: int) -> None:
        super().__init__(f"the server closed a connection with {requests} requests under way")
        self.requests = requests


class Connection(Protocol):
    """A connection that may take a request whenever `is_free`."""

    socket: socket.socket

    @property
    def is_free(self) -> bool: ...
    def send(self, payload: bytes, intended: float) -> None: ...
    def receive(self) -> list[Outcome]: ...


def connect(port: int) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), _LIMIT_S)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


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
        with suppress(OSError):  # a reset, which the next receive() meets again
            self.socket.sendall(payload)

    def receive(self) -> list[Outcome]:
        """Raises LostConnectionError if there is nothing to come."""
        try:
            chunk = self.socket.recv(_CHUNK)
        except OSError:
            chunk = b""
        if not chunk:
            raise LostConnectionError(0 if self._intended is None else 1)
        self._response += chunk
        end = self._response.find(b"\r\n\r\n")
        length = LENGTH.search(self._response, 0, end + 2) if end >= 0 else None
        if length is None or self._intended is None or len(self._response) < end + 4 + int(length[1]):
            return []
        head, body = self._response[: end + 2], self._response[end + 4 :]
        done = [(self._intended, self.outcome(head, body))]
        self._ends = b"\r\nconnection: close\r\n" in head.lower()
        self._intended, self._response = None, b""
        return done

    def outcome(self, head: bytes, body: bytes) -> str:  # noqa: ARG002  # for those that know what the body should be
        return head[9:12].decode()


# Source: RFC 9113, sections 3.4, 4.1 and 6; RFC 7541, section 6.2.2 (literal fields without indexing, no Huffman code).
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, _PING, GOAWAY, _WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, _ACK, END_HEADERS = 1, 1, 4
_INITIAL_WINDOW = 4
_LARGEST_WINDOW = (1 << 31) - 1
_WINDOW = 65_535  # where nothing else is said
_STREAMS = 100  # at once on a connection, as servers like to allow
FRAME = 16_384


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def frames(received: bytes) -> Iterator[tuple[int, int]]:
    """Kind and flags of each frame that has begun."""
    while len(received) >= 9:
        yield received[3], received[4]
        received = received[9 + int.from_bytes(received[:3], "big") :]


GREETING = PREFACE + frame(SETTINGS, 0, 0, b"")


def literal(name: bytes, value: bytes) -> bytes:
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

    The outcome is `OK` for a call that got a message, else `refused`: field compression is not undone here, so what was refused with is
    for the server's metrics to say.
    """

    def __init__(self, port: int) -> None:
        self.socket = connect(port)
        self._next = 1
        self._calls: dict[int, float] = {}
        self._answered: set[int] = set()
        self._buffer = b""
        self._window = self._stream_window = _WINDOW
        self._need = 0
        settings = struct.pack(">HI", _INITIAL_WINDOW, _LARGEST_WINDOW)
        window = struct.pack(">I", _LARGEST_WINDOW - _WINDOW)
        self.socket.sendall(PREFACE + frame(SETTINGS, 0, 0, settings) + frame(_WINDOW_UPDATE, 0, 0, window))

    @property
    def is_free(self) -> bool:
        return len(self._calls) < _STREAMS and self._window >= self._need

    def send(self, payload: bytes, intended: float) -> None:
        message = struct.pack(">BI", 0, len(payload)) + payload
        if len(message) > self._stream_window:
            raise ValueError(f"a message of {len(message)} bytes needs more than one window, which is not made here")
        stream, self._next = self._next, self._next + 2
        self._calls[stream] = intended
        self._window -= len(message)
        self._need = max(self._need, len(message))
        pieces = [message[first : first + FRAME] for first in range(0, len(message), FRAME)]
        frames = [frame(HEADERS, END_HEADERS, stream, REQUEST_HEAD)]
        frames += [frame(DATA, END_STREAM if piece is pieces[-1] else 0, stream, piece) for piece in pieces]
        with suppress(OSError):
            self.socket.sendall(b"".join(frames))

    def receive(self) -> list[Outcome]:
        """Raises LostConnectionError if there is nothing to come."""
        try:
            chunk = self.socket.recv(_CHUNK)
        except OSError:
            chunk = b""
        if not chunk:
            raise LostConnectionError(len(self._calls))
        data, position, done = self._buffer + chunk, 0, []
        while len(data) - position >= 9:
            size = int.from_bytes(data[position : position + 3], "big")
            if len(data) - position - 9 < size:
                break
            kind, flags, stream = struct.unpack_from(">BBI", data, position + 3)
            position += 9 + size
            if self._take(kind, flags, stream, data[position - size : position]):
                done.append((self._calls.pop(stream), "OK" if stream in self._answered else "refused"))
                self._answered.discard(stream)
        self._buffer = data[position:]
        return done

    def _take(self, kind: int, flags: int, stream: int, payload: bytes) -> bool:
        """Whether a frame is the end of a call."""
        if kind == DATA and payload:
            self._answered.add(stream)
        elif kind == _WINDOW_UPDATE and not stream:
            self._window += int.from_bytes(payload, "big")
        elif kind == SETTINGS and not flags & _ACK:
            settings = dict(struct.iter_unpack(">HI", payload))
            self._stream_window = settings.get(_INITIAL_WINDOW, self._stream_window)
            self.socket.sendall(frame(SETTINGS, _ACK, 0, b""))
        elif kind == _PING and not flags & _ACK:
            self.socket.sendall(frame(_PING, _ACK, 0, payload))
        elif kind == GOAWAY:
            raise LostConnectionError(len(self._calls))
        if stream not in self._calls:
            return False
        return kind == RST_STREAM or (kind in (DATA, HEADERS) and bool(flags & END_STREAM))
