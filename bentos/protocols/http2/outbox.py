"""The outbox of one HTTP/2 connection: frames until the next write, and data until the peer's window allows them."""

from __future__ import annotations

import math
from time import perf_counter
from typing import Any, Generic

from bentos.protocols.connections.gate import Gate
from bentos.protocols.http2 import frames
from bentos.protocols.http2.fields import NO_TABLE
from bentos.protocols.http2.frames import ConnectionFault, ErrorCode, StreamFault
from bentos.protocols.http2.ration import Ration
from bentos.protocols.http2.streams import Head, Stream, Streams

_LAST = frames.END_HEADERS | frames.END_STREAM
GOODBYE = b"goodbye!"


class Outbox(Generic[Head]):
    """The frames to a peer: answers and control frames.

    Attributes:
        transport: the asyncio transport, which the connection sets once it is made.
        frame_bytes: the longest payload that the peer accepts.
        waiting: streams whose window is full -> the time by `perf_counter` since when.
        leaving: the peer was told that the server is shutting down.
    """

    def __init__(self, gate: Gate, streams: Streams[Head], ration: Ration) -> None:
        self._gate = gate
        self._streams = streams
        self._ration = ration
        self.transport: Any = None
        self.frame_bytes = frames.FRAME_BYTES
        self.waiting: dict[Stream[Head], float] = {}
        self.leaving = False
        self._frames: list[bytes] = []
        self._window = self._first_window = frames.WINDOW_BYTES
        self._answered = False  # a block was sent

    @property
    def first_window(self) -> int:
        """The bytes of a new stream that the peer accepts."""
        return self._first_window

    def put(self, *given: bytes) -> None:
        """Write frames with the next flush."""
        self._frames += given

    def flush(self) -> None:
        """Write all frames at once."""
        if self._frames:
            self.transport.write(b"".join(self._frames))
            self._frames.clear()

    # ---- answers ----

    def answer(self, stream: Stream[Head], start: bytes, data: bytes, end: bytes) -> None:
        """Write a whole answer: the block that starts it, its data, and the block that ends it."""
        self.start(stream, start)
        size = len(data)
        if size > min(self._window, stream.window, self.frame_bytes):
            self.send(stream, data)
            self.finish(stream, end)
            return
        self._window -= size
        self._frames += (
            frames.HEAD.pack(size >> 16, size & 0xFFFF, frames.DATA, 0, stream.id),
            data,
            frames.HEAD.pack(0, len(end), frames.HEADERS, _LAST, stream.id),
            end,
        )
        self._done(stream)

    def refuse(self, stream: Stream[Head], block: bytes) -> None:
        """Write an answer that consists of one block."""
        self.start(stream, block, _LAST)
        self._done(stream)

    def start(self, stream: Stream[Head], block: bytes, flags: int = frames.END_HEADERS) -> None:
        """Write the block that starts an answer."""
        if not self._answered:
            self._answered = True
            block = NO_TABLE + block
        self._frames += frames.HEAD.pack(0, len(block), frames.HEADERS, flags, stream.id), block

    def send(self, stream: Stream[Head], data: bytes) -> None:
        """Write data of an answer as soon as the window allows; end the stream if the peer asks for more but reads nothing."""
        if stream.pending and len(stream.pending) + len(data) > self._gate.limits.body_limit_bytes:
            self.end_stream(stream.id, ErrorCode.ENHANCE_YOUR_CALM)
            return
        self._streams.hold(stream, len(data))
        stream.pending = bytes(stream.pending) + data if stream.pending else data
        self._send_pending(stream)

    def finish(self, stream: Stream[Head], block: bytes) -> None:
        """Write the block that ends an answer, once its data are written."""
        stream.trailers, stream.deadline = block, math.inf
        self._send_pending(stream)

    def is_open(self, stream: Stream[Head]) -> bool:
        """Return whether a stream may get more data."""
        return stream.id in self._streams.open and stream.trailers is None

    def end_stream(self, number: int, code: ErrorCode) -> None:
        """Reset a stream, open or not, without an answer."""
        self._frames.append(frames.rst_stream(number, code))
        self._streams.expect_late(number)
        self.forget(number)

    def forget(self, number: int) -> None:
        """Drop a stream, if it is open, without an answer."""
        stream = self._streams.open.get(number)
        if stream is not None:
            self.waiting.pop(stream, None)
            self._streams.forget(number)

    def _send_pending(self, stream: Stream[Head]) -> None:
        pending = memoryview(stream.pending)
        while pending:
            size = min(len(pending), self._window, stream.window, self.frame_bytes)
            if size <= 0:
                self.waiting.setdefault(stream, perf_counter())
                break
            head = frames.HEAD.pack(size >> 16, size & 0xFFFF, frames.DATA, 0, stream.id)
            self._frames += head, bytes(pending[:size])
            self._window -= size
            stream.window -= size
            pending = pending[size:]
            self._ration.earn()
        self._streams.hold(stream, len(pending) - len(stream.pending))
        stream.pending = pending
        if pending:
            return
        self.waiting.pop(stream, None)
        if stream.trailers is not None:
            head = frames.HEAD.pack(0, len(stream.trailers), frames.HEADERS, _LAST, stream.id)
            self._frames += head, stream.trailers
            self._done(stream)

    def _done(self, stream: Stream[Head]) -> None:
        """Remove an answered stream; reset it if the caller still sends its request, which is no longer needed."""
        self._ration.earn()
        if not stream.ended:  # RFC 9113, section 8.1
            self._frames.append(frames.rst_stream(stream.id, ErrorCode.NO_ERROR))
            self._streams.expect_late(stream.id)
        self._streams.remove(stream)

    # ---- the peer's windows ----

    def widen(self, more: int) -> None:
        """Widen the connection's window, and send the data that wait for it.

        Raises:
            ConnectionFault: the increment is 0, or the window exceeds 2³¹ - 1.
        """
        self._window += more
        if not more or self._window > frames.LARGEST_WINDOW_BYTES:
            code = ErrorCode.FLOW_CONTROL_ERROR if more else ErrorCode.PROTOCOL_ERROR
            raise ConnectionFault(code, "the window of the connection is out of range")
        self.send_waiting()

    def widen_stream(self, stream: Stream[Head], more: int) -> None:
        """Widen a stream's window, and send the data that wait for it.

        Raises:
            StreamFault: the increment is 0, or the window exceeds 2³¹ - 1.
        """
        stream.window += more
        if not more or stream.window > frames.LARGEST_WINDOW_BYTES:
            raise StreamFault(ErrorCode.FLOW_CONTROL_ERROR if more else ErrorCode.PROTOCOL_ERROR, stream.id)
        if stream.pending:
            self._send_pending(stream)

    def set_first_window(self, value: int) -> None:
        """Set the window of new streams, and change those of open ones by the difference (RFC 9113, section 6.9.2).

        Raises:
            ConnectionFault: a window exceeds 2³¹ - 1.
        """
        more, self._first_window = value - self._first_window, value
        opened = self._streams.open.values()
        if max([value, *(stream.window + more for stream in opened)]) > frames.LARGEST_WINDOW_BYTES:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "INITIAL_WINDOW_SIZE is out of range")
        for stream in opened:
            stream.window += more

    def send_waiting(self) -> None:
        """Send waiting data as far as the windows allow."""
        for stream in list(self.waiting):
            self._send_pending(stream)

    # ---- the end of the connection ----

    def announce_end(self) -> None:
        """Announce the shutdown; requests that the peer sent before it could know are still answered."""
        self.leaving = True
        # RFC 9113, section 6.8: a GOAWAY without a last stream, then after a round trip, which the PING measures, the one of `leave`.
        self._frames += (
            frames.goaway(frames.LARGEST_STREAM, ErrorCode.NO_ERROR, "the server is shutting down"),
            frames.frame(frames.PING, 0, 0, GOODBYE),
        )

    def drop(self) -> None:
        """Drop all open streams without an answer."""
        self.waiting.clear()
        self._streams.drop()

    def leave(self) -> None:
        """Send GOAWAY with the last stream that is answered."""
        if not self._streams.left:
            self.leaving = True
            self._frames.append(frames.goaway(self._streams.last, ErrorCode.NO_ERROR))
            self._streams.leave()
