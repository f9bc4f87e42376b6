"""A caller of gRPC that may break the rules of HTTP/2: frames made and read by hyperframe, fields by hpack, nothing of ours."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest
from hpack import Decoder, Encoder
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from bentos.core import Core
from bentos.protocols.grpc.server import GrpcServer
from tests.bentos.http.http_server import FrontDoor, limited

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SERVICE = "/inference.GRPCInferenceService"
LIVE = f"{SERVICE}/ServerLive"
INFER = f"{SERVICE}/ModelInfer"
METADATA = f"{SERVICE}/ModelMetadata"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, END_HEADERS, PADDED, WITH_PRIORITY = 1, 4, 8, 32
CODES = {
    0: "NO_ERROR",
    1: "PROTOCOL_ERROR",
    3: "FLOW_CONTROL_ERROR",
    5: "STREAM_CLOSED",
    6: "FRAME_SIZE_ERROR",
    7: "REFUSED_STREAM",
    8: "CANCEL",
    9: "COMPRESSION_ERROR",
    11: "ENHANCE_YOUR_CALM",
}


@contextmanager
def grpc_door(core: Core) -> Iterator[FrontDoor]:
    """A gRPC server on a free port until the context ends; ends gracefully then."""
    listening = socket.create_server(("127.0.0.1", 0))
    running = FrontDoor(GrpcServer(core, listening), listening.getsockname()[1])
    running.start()
    try:
        yield running
    finally:
        running.stop()


def prefixed(message: bytes) -> bytes:
    return struct.pack(">BL", 0, len(message)) + message


@dataclass
class Answer:
    """What came on one stream."""

    fields: dict[bytes, bytes] = field(default_factory=dict)
    body: bytes = b""
    ended: bool = False
    reset: str | None = None

    @property
    def status(self) -> int:
        return int(self.fields[b"grpc-status"])

    @property
    def message(self) -> bytes:
        assert self.status == 0, self.fields
        assert struct.unpack_from(">BL", self.body) == (0, len(self.body) - 5)
        return self.body[5:]


class Peer:
    """One connection. `answers` are by stream; `gone` is the code of the GOAWAY that came."""

    def __init__(self, port: int, *, start: bool = True, **settings: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 10)
        self._encoder, self._decoder = Encoder(), Decoder()
        self._received = b""
        self.answers: dict[int, Answer] = {}
        self.frames: list[Frame] = []
        self.gone: str | None = None
        self.closed = False
        if start:
            values = {getattr(SettingsFrame, name.upper()): value for name, value in settings.items()}
            self.send(PREFACE, SettingsFrame(settings=values))

    def send(self, *parts: Frame | bytes) -> None:
        self.socket.sendall(b"".join(part if isinstance(part, bytes) else part.serialize() for part in parts))

    def block(self, path: str = LIVE, *more: tuple[str, str], **changes: str | None) -> bytes:
        """Fields of a call; `changes` by name, with _ for -, a pseudo field without its colon; None leaves one out."""
        fields: dict[str, str | None] = {":method": "POST", ":scheme": "http", ":path": path, ":authority": "x"}
        fields |= {"te": "trailers", "content-type": "application/grpc"}
        for name, value in changes.items():
            fields[f":{name}" if f":{name}" in fields else name.replace("_", "-")] = value
        return self._encoder.encode([*((name, value) for name, value in fields.items() if value is not None), *more])

    def call(self, stream: int, path: str = LIVE, message: bytes = b"", *more: tuple[str, str]) -> None:
        self.send(*call_frames(stream, self.block(path, *more), message))

    def read(self) -> bool:
        """The next frame; False at the end of the connection."""
        while True:
            if len(self._received) >= 9:
                frame, length = Frame.parse_frame_header(memoryview(self._received)[:9])
                if len(self._received) >= 9 + length:
                    frame.parse_body(memoryview(self._received[9 : 9 + length]))
                    self._received = self._received[9 + length :]
                    self._take(frame)
                    return True
            try:
                data = self.socket.recv(65536)
            except ConnectionResetError:
                data = b""
            if not data:
                self.closed = True
                return False
            self._received += data

    def _take(self, frame: Frame) -> None:
        self.frames.append(frame)
        answer = self.answers.setdefault(frame.stream_id, Answer()) if frame.stream_id else Answer()
        if isinstance(frame, HeadersFrame):
            assert "END_HEADERS" in frame.flags
            answer.fields |= dict(self._decoder.decode(frame.data, raw=True))
        elif isinstance(frame, DataFrame):
            answer.body += frame.data
        elif isinstance(frame, RstStreamFrame):
            answer.reset = CODES[frame.error_code]
        elif isinstance(frame, GoAwayFrame):
            self.gone = CODES[frame.error_code]
        answer.ended |= "END_STREAM" in frame.flags

    def answer(self, stream: int) -> Answer:
        """All of the answer on a stream."""
        while not ((found := self.answers.get(stream, Answer())).ended or found.reset):
            assert self.read(), f"closed ({self.gone}) before stream {stream} was answered"
        return found

    def until_gone(self) -> str | None:
        """The code that the connection ends with."""
        while self.read():
            pass
        return self.gone

    def is_live(self, stream: int) -> bool:
        """Whether a right call is answered."""
        self.call(stream)
        return self.answer(stream).message == b"\x08\x01"

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


def headers(stream: int, block: bytes, *flags: str, **options: Any) -> HeadersFrame:
    return HeadersFrame(stream, block, flags=flags or ("END_HEADERS",), **options)


def data(stream: int, content: bytes, *flags: str, **options: Any) -> DataFrame:
    return DataFrame(stream, content, flags=flags, **options)


def continuation(stream: int, block: bytes, *flags: str) -> ContinuationFrame:
    return ContinuationFrame(stream, block, flags=flags)


def window(stream: int, more: int) -> WindowUpdateFrame:
    return WindowUpdateFrame(stream, window_increment=more)


def call_frames(stream: int, block: bytes, message: bytes = b"") -> list[Frame]:
    """A call, its message in as many frames as that needs."""
    content = prefixed(message)
    parts = [content[start : start + 16384] for start in range(0, len(content), 16384)]
    last = data(stream, parts.pop(), "END_STREAM")
    return [headers(stream, block), *(data(stream, part) for part in parts), last]


def raw(kind: int, flags: int, stream: int, payload: bytes = b"", length: int | None = None) -> bytes:
    """Any frame, right or not."""
    size = len(payload) if length is None else length
    return struct.pack(">BHBBL", size >> 16, size & 0xFFFF, kind, flags, stream) + payload


def with_limits(core: Core, monkeypatch: pytest.MonkeyPatch, **limits: float) -> Any:
    limited(core, monkeypatch, **limits)
    return grpc_door(core)


def suppressed_resets() -> Any:
    """For what is sent to a server that may close meanwhile."""
    return suppress(ConnectionResetError, BrokenPipeError, TimeoutError)


def fields(*changed: tuple[str, str], without: str = "") -> bytes:
    right = [(":method", "POST"), (":scheme", "http"), (":path", LIVE), ("content-type", "application/grpc")]
    return Encoder().encode([*(pair for pair in right if pair[0] != without), *changed])


BLOCK = fields()  # of a right call
