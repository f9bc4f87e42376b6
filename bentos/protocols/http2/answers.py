"""What the server sends on an HTTP/2 connection, within what the peer will take; and how streams and the connection end."""

from __future__ import annotations

import asyncio
import math
from abc import abstractmethod
from time import perf_counter
from typing import Any, Generic

from bentos.protocols.connections.gate import Gate
from bentos.protocols.http2 import frames
from bentos.protocols.http2.fields import NO_TABLE
from bentos.protocols.http2.frames import ConnectionFault, ErrorCode
from bentos.protocols.http2.stream import Head, Stream

MAX_STREAMS = 128  # at once. RFC 9113 recommends no fewer than 100
# Frames that ask for no answer: so many at once, so many a second, and so many for each answer. Source of the first: nghttp2's
# burst of resets.
_RATION = 1000
_RATION_PER_S = 500
_RATION_PER_ANSWER = 8
_LAST = frames.END_HEADERS | frames.END_STREAM
GOODBYE = b"goodbye!"


class Http2Answers(asyncio.Protocol, Generic[Head]):
    """The half of a connection that writes.

    Attributes:
        gate: what it shares with others.
        now: when what is being parsed was read.
    """

    def __init__(self, gate: Gate) -> None:
        self.gate = gate
        self.now = self._rationed = self._parted_at = perf_counter()
        self._ration = float(_RATION)
        self.transport: Any = None
        self._out: list[bytes] = []
        self._streams: dict[int, Stream[Head]] = {}
        self._waiting: dict[int, float] = {}  # streams whose peer's window is full, and since when
        self._reset: dict[int, None] = {}  # answered or ended before their callers had: what still comes is dropped
        self._last_stream = 0
        self._window = self._first_window = frames.WINDOW_BYTES
        self._frame_bytes = frames.FRAME_BYTES
        self._answered = False  # a block was sent
        self._leaving = self._left = False  # GOAWAY was sent: the first, and the one that names the last stream
        self._parted = False  # all is answered after that
        self._over = False  # nothing more is read or answered

    @abstractmethod
    def gone(self, stream: Stream[Head]) -> None:
        """It ended before it was answered; nobody waits for that any more."""

    # ---- answers ----

    def answer(self, stream: Stream[Head], start: bytes, data: bytes, end: bytes) -> None:
        """All of an answer: the block that starts it, its data, and the block that ends it."""
        self.start(stream, start)
        size = len(data)
        if size > min(self._window, stream.window, self._frame_bytes):
            self.send(stream, data)
            self.finish(stream, end)
            return
        self._window -= size
        self._out += (
            frames.HEAD.pack(size >> 16, size & 0xFFFF, frames.DATA, 0, stream.id),
            data,
            frames.HEAD.pack(0, len(end), frames.HEADERS, _LAST, stream.id),
            end,
        )
        self._done(stream)

    def refuse(self, stream: Stream[Head], block: bytes) -> None:
        """An answer that is one block."""
        self.start(stream, block, _LAST)
        self._done(stream)

    def start(self, stream: Stream[Head], block: bytes, flags: int = frames.END_HEADERS) -> None:
        if not self._answered:
            self._answered = True
            block = NO_TABLE + block
        self._out += frames.HEAD.pack(0, len(block), frames.HEADERS, flags, stream.id), block

    def send(self, stream: Stream[Head], data: bytes) -> None:
        """Data of an answer, as soon as the peer will take it; who asks on and takes nothing is left."""
        if stream.pending and len(stream.pending) + len(data) > self.gate.limits.body_limit_bytes:
            self._end_stream(stream.id, ErrorCode.ENHANCE_YOUR_CALM)
            return
        self.hold(stream, len(data))
        stream.pending = bytes(stream.pending) + data if stream.pending else data
        self._send_pending(stream)

    def finish(self, stream: Stream[Head], block: bytes) -> None:
        """The block that ends an answer, once its data is out."""
        stream.trailers, stream.deadline = block, math.inf
        self._send_pending(stream)

    def is_open(self, stream: Stream[Head]) -> bool:
        """Whether there is still something to be said on it."""
        return stream.id in self._streams and stream.trailers is None

    def flush(self) -> None:
        """Write what there is, at once."""
        if self._out:
            self.transport.write(b"".join(self._out))
            self._out.clear()

    def hold(self, stream: Stream[Head], size: int) -> None:
        """Account for memory that a stream takes, or gives back."""
        stream.held += size
        self.gate.held_bytes += size

    def _send_waiting(self) -> None:
        for number in list(self._waiting):
            self._send_pending(self._streams[number])

    def _send_pending(self, stream: Stream[Head]) -> None:
        pending = memoryview(stream.pending)
        while pending:
            size = min(len(pending), self._window, stream.window, self._frame_bytes)
            if size <= 0:
                self._waiting.setdefault(stream.id, perf_counter())
                break
            self._out += frames.HEAD.pack(size >> 16, size & 0xFFFF, frames.DATA, 0, stream.id), bytes(pending[:size])
            self._window -= size
            stream.window -= size
            pending = pending[size:]
            self._earn()
        self.hold(stream, len(pending) - len(stream.pending))
        stream.pending = pending
        if pending:
            return
        self._waiting.pop(stream.id, None)
        if stream.trailers is not None:
            self._out += frames.HEAD.pack(0, len(stream.trailers), frames.HEADERS, _LAST, stream.id), stream.trailers
            self._done(stream)

    # ---- the ration of frames that ask for no answer ----

    def _earn(self) -> None:
        self._ration = min(self._ration + _RATION_PER_ANSWER, _RATION)

    def _spend(self) -> None:
        self._ration -= 1
        if self._ration < 0:
            self._ration = min(_RATION, (self.now - self._rationed) * _RATION_PER_S)
            self._rationed = self.now
            if self._ration < 1:
                raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too many frames that ask for nothing")

    # ---- the end of a stream ----

    def _done(self, stream: Stream[Head]) -> None:
        """The answer is out. Who still sends its request need not."""
        self._earn()
        if not stream.ended:
            self._out.append(frames.rst_stream(stream.id, ErrorCode.NO_ERROR))
            self._expect_late(stream.id)
        self._remove(stream)

    def _end_stream(self, number: int, code: ErrorCode) -> None:
        """End a stream, open or not, without an answer."""
        self._out.append(frames.rst_stream(number, code))
        self._expect_late(number)
        self._forget(number)

    def _expect_late(self, number: int) -> None:
        if len(self._reset) >= MAX_STREAMS:
            del self._reset[next(iter(self._reset))]
        self._reset[number] = None

    def _forget(self, number: int) -> None:
        stream = self._streams.get(number)
        if stream is not None:
            self._remove(stream)
            self.gone(stream)

    def _remove(self, stream: Stream[Head]) -> None:
        del self._streams[stream.id]
        self._waiting.pop(stream.id, None)
        if stream.held:
            self.hold(stream, -stream.held)
        if self._left and not self._streams:
            self._part()

    # ---- the end of the connection ----

    def shutdown(self) -> None:
        """Take no new request; but what was sent before the peer could know of it, is still answered."""
        if not (self._leaving or self._over):
            self._leaving = True
            self._out += (
                frames.goaway(frames.LARGEST_STREAM, ErrorCode.NO_ERROR, "the server stops"),
                frames.frame(frames.PING, 0, 0, GOODBYE),
            )
            self.flush()

    def _leave(self) -> None:
        """Name the last stream that is answered; part when it is."""
        if not self._left:
            self._leaving = self._left = True
            self._out.append(frames.goaway(self._last_stream, ErrorCode.NO_ERROR))
            if not self._streams:
                self._part()

    def _part(self) -> None:
        """All is said; the peer shall close, since closing before it has read the last answer would lose that."""
        self._parted, self._parted_at = True, perf_counter()

    def fail(self, fault: ConnectionFault) -> None:
        """End it, with the reason."""
        self._out.append(frames.goaway(self._last_stream, fault.code, str(fault)))
        self.flush()
        self.close()

    def close(self) -> None:
        """What is written still goes out, if the peer takes it soon."""
        self._over = True
        self._drop_streams()
        self.transport.close()

    def abort(self) -> None:
        self._over = True
        self.transport.abort()

    def _drop_streams(self) -> None:
        for number in list(self._streams):
            self._forget(number)
