"""A connection to a gRPC server, for `asking`: one call at a time, one message each way; no library for callers."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from urllib.parse import unquote

from hpack import Decoder, Encoder

from bentos.protocols.grpc.status import PREFIX_BYTES, Status, with_prefix
from bentos.protocols.http2 import frames

_TIMEOUT_S = 10
_SETTINGS = {frames.ENABLE_PUSH: 0, frames.INITIAL_WINDOW_SIZE: frames.LARGEST_WINDOW_BYTES}


class RefusedError(Exception):
    """A call ended with a status other than OK; its text is the server's message."""

    def __init__(self, status: Status, message: str) -> None:
        super().__init__(message)
        self.status = status


class GrpcChannel:
    """A connection to the server at an address (`host:port`), without TLS."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self._address = address
        self._socket = socket.create_connection((host, int(port)), _TIMEOUT_S)
        self._encoder, self._decoder = Encoder(), Decoder()
        self._stream = -1
        window = frames.window_update(0, frames.LARGEST_WINDOW_BYTES - frames.WINDOW_BYTES)
        self._socket.sendall(frames.PREFACE + frames.settings(_SETTINGS) + window)

    def __enter__(self) -> GrpcChannel:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def call(self, method: str, message: bytes, headers: Mapping[str, str]) -> bytes:
        """Send a message of at most 16 KiB, one frame; return the answer.

        Raises:
            RefusedError: the call's status is not OK.
            OSError: the connection ended, or no answer came within 10 s.
        """
        self._stream += 2
        fields = {":method": "POST", ":scheme": "http", ":path": method, ":authority": self._address}
        fields |= {"te": "trailers", "content-type": "application/grpc", "grpc-timeout": f"{_TIMEOUT_S}S", **headers}
        block, data = self._encoder.encode(list(fields.items())), with_prefix(message)
        self._socket.sendall(
            frames.frame(frames.HEADERS, frames.END_HEADERS, self._stream, block)
            + frames.frame(frames.DATA, frames.END_STREAM, self._stream, data)
        )
        said, body = self._answer()
        status = Status(int(said.get("grpc-status", Status.UNKNOWN)))
        if status is not Status.OK:
            raise RefusedError(status, unquote(said.get("grpc-message", "")))
        return body[PREFIX_BYTES:]

    def _answer(self) -> tuple[dict[str, str], bytes]:
        """Return fields and body of the answer."""
        fields: dict[str, str] = {}
        body = b""
        for kind, flags, stream, payload in self._frames():
            if kind == frames.HEADERS:
                fields |= {str(name): str(value) for name, value in self._decoder.decode(payload)}
            elif kind == frames.DATA:
                body += payload
            elif kind in (frames.RST_STREAM, frames.GOAWAY):
                raise ConnectionError("the server ended the call")
            # RFC 9113, 6.5.3 and 6.7: a server may close a connection that does not acknowledge them.
            elif kind in (frames.SETTINGS, frames.PING) and not flags & frames.ACK:
                self._socket.sendall(frames.frame(kind, frames.ACK, 0, payload if kind == frames.PING else b""))
            if stream == self._stream and flags & frames.END_STREAM:
                break
        return fields, body

    def _frames(self) -> Iterator[tuple[int, int, int, bytes]]:
        """Yield type, flags, stream and payload of each frame."""
        while True:
            high, low, kind, flags, stream = frames.HEAD.unpack(self._read(frames.HEAD_BYTES))
            yield kind, flags, stream, self._read(high << 16 | low)

    def _read(self, size: int) -> bytes:
        content = b""
        while len(content) < size:
            data = self._socket.recv(size - len(content))
            if not data:
                raise ConnectionError("the server closed the connection")
            content += data
        return content
