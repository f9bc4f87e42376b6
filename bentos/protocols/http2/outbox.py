"""The outbox of one HTTP/2 connection: the frames that wait to be written, and the data that wait until the peer will take them."""

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
    """Answers, and all else that the peer is told.

    Attributes:
        transport: what is written to; the connection sets it when it is made.
        frame_bytes: the longest payload that the peer takes.
        waiting: streams whose peer's window is full, and since when.
        leaving: the peer was told that the server stops.
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
        """Return how many bytes the peer takes of a new stream."""
        return self._first_window

    def put(self, *given: bytes) -> None:
        """Write frames with the next flush."""
        self._frames += given

    def flush(self) -> None:
        """Write what there is, at once."""
        if self._frames:
            self.transport.write(b"".join(self._frames))
            self._frames.clear()

    # ---- answers ----

    def answer(self, stream: Stream[Head], start: bytes, data: bytes, end: bytes) -> None:
        """Write all of an answer: the block that starts it, its data, and the block that ends it."""
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
        """Write an answer that is one block."""
        self.start(stream, block, _LAST)
        self._done(stream)

    def start(self, stream: Stream[Head], block: bytes, flags: int = frames.END_HEADERS) -> None:
        if not self._answered:
            self._answered = True
            block = NO_TABLE + block
        self._frames += frames.HEAD.pack(0, len(block), frames.HEADERS, flags, stream.id), block

    def send(self, stream: Stream[Head], data: bytes) -> None:
        """Write data of an answer as soon as the peer takes it; end the stream where it asks on and takes nothing."""
        if stream.pending and len(stream.pending) + len(data) > self._gate.limits.body_limit_bytes:
            self.end_stream(stream.id, ErrorCode.ENHANCE_YOUR_CALM)
            return
        self._streams.hold(stream, len(data))
        stream.pending = bytes(stream.pending) + data if stream.pending else data
        self._send_pending(stream)

    def finish(self, stream: Stream[Head], block: bytes) -> None:
        """Write the block that ends an answer, once its data are out."""
        stream.trailers, stream.deadline = block, math.inf
        self._send_pending(stream)

    def is_open(self, stream: Stream[Head]) -> bool:
        """Return whether a stream may get more of an answer."""
        return stream.id in self._streams.open and stream.trailers is None

    def end_stream(self, number: int, code: ErrorCode) -> None:
        """End a stream, open or not, without an answer."""
        self._frames.append(frames.rst_stream(number, code))
        self._streams.expect_late(number)
        self.forget(number)

    def forget(self, number: int) -> None:
        """Answer a stream no more, if it is open."""
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
        """Remove a stream that is answered; a caller that still sends its request need not."""
        self._ration.earn()
        if not stream.ended:
            self._frames.append(frames.rst_stream(stream.id, ErrorCode.NO_ERROR))
            self._streams.expect_late(stream.id)
        self._streams.remove(stream)

    # ---- what the peer will take ----

    def widen(self, more: int) -> None:
        """Widen the window of the connection, and send what waits for that.

        Raises:
            ConnectionFault: the window becomes too large, or no larger.
        """
        self._window += more
        if not more or self._window > frames.LARGEST_WINDOW_BYTES:
            code = ErrorCode.FLOW_CONTROL_ERROR if more else ErrorCode.PROTOCOL_ERROR
            raise ConnectionFault(code, "the window of the connection is out of range")
        self.send_waiting()

    def widen_stream(self, stream: Stream[Head], more: int) -> None:
        """Widen the window of one stream, and send what waits for that.

        Raises:
            StreamFault: its window becomes too large, or no larger.
        """
        stream.window += more
        if not more or stream.window > frames.LARGEST_WINDOW_BYTES:
            raise StreamFault(ErrorCode.FLOW_CONTROL_ERROR if more else ErrorCode.PROTOCOL_ERROR, stream.id)
        if stream.pending:
            self._send_pending(stream)

    def set_first_window(self, value: int) -> None:
        """Start streams with another window, and change those that are open by as much (RFC 9113, section 6.9.2).

        Raises:
            ConnectionFault: a window becomes too large.
        """
        more, self._first_window = value - self._first_window, value
        opened = self._streams.open.values()
        if max([value, *(stream.window + more for stream in opened)]) > frames.LARGEST_WINDOW_BYTES:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "INITIAL_WINDOW_SIZE is out of range")
        for stream in opened:
            stream.window += more

    def send_waiting(self) -> None:
        """Send what the peer takes by now."""
        for stream in list(self.waiting):
            self._send_pending(stream)

    # ---- the end of the connection ----

    def announce_end(self) -> None:
        """Say that the server stops; what was sent before the peer could know of it, is still answered."""
        self.leaving = True
        self._frames += (
            frames.goaway(frames.LARGEST_STREAM, ErrorCode.NO_ERROR, "the server stops"),
            frames.frame(frames.PING, 0, 0, GOODBYE),
        )

    def drop(self) -> None:
        """Answer none of the streams that are open: nobody waits for that."""
        self.waiting.clear()
        self._streams.drop()

    def leave(self) -> None:
        """Name the last stream that is answered."""
        if not self._streams.left:
            self.leaving = True
            self._frames.append(frames.goaway(self._streams.last, ErrorCode.NO_ERROR))
            self._streams.leave()
