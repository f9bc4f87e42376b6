"""The server's side of one HTTP/2 connection (RFC 9113) for gRPC: frames in, frames out, within the parser's own call.

A request makes no task or coroutine. One write answers all requests of one read. Field blocks of requests are cached
(`bentos.protocols.http2.fields`), those of answers are constant bytes.

A hostile peer loses its connection and costs the server little. Frames without an answer (resets, pings, settings, empty frames) are
rationed, and answers earn more of them; field blocks, streams, connections and memory are bounded; everything has a deadline. This defends
against rapid reset (CVE-2023-44487), CONTINUATION floods (CVE-2024-27316), floods of pings, settings and empty frames, HPACK bombs, windows
that never open, and peers that send or read slowly.
"""

from __future__ import annotations

import asyncio
import math
from abc import abstractmethod
from collections.abc import Callable
from time import perf_counter
from typing import Any, Generic

from bentos.errors import log_defect
from bentos.protocols.connections.gate import SPARE_CONNECTIONS, TURN_S, Gate
from bentos.protocols.http2 import frames
from bentos.protocols.http2.fields import Fields
from bentos.protocols.http2.frames import ConnectionFault, ErrorCode
from bentos.protocols.http2.outbox import Outbox
from bentos.protocols.http2.ration import Ration
from bentos.protocols.http2.requests import RECEIVE_BYTES, Requests
from bentos.protocols.http2.streams import MAX_STREAMS, Head, Stream, Streams

_LOOK_S = 1.0  # between two checks of a connection's deadlines
_IDLE_S = 300.0  # without a request
_LINGER_S = 2.0  # for a peer to read the last answers and close


class Http2Connection(asyncio.Protocol, Generic[Head]):
    """One connection; a subclass answers the requests.

    Attributes:
        gate: the state that the server's connections share.
        streams: the open requests.
        outbox: the frames to the peer.
        deadline: the time by `perf_counter` of the next check for overdue streams.
        crowded: the connection is above the bound.
    """

    def __init__(self, gate: Gate, make_head: Callable[[Fields], Head]) -> None:
        now = perf_counter()
        ration = Ration(now)
        self.gate = gate
        self.transport: Any = None
        self.streams: Streams[Head] = Streams(gate, self.gone)
        self.outbox = Outbox(gate, self.streams, ration)
        self._requests = Requests(gate, make_head, self, self.streams, self.outbox, ration)
        self._loop = asyncio.get_running_loop()
        self._unread = b""
        self._greeted = False  # the preface has come
        self._waits_for_turn = self._write_paused = False  # reasons why parsing is paused
        self._over = False  # nothing more is read or answered
        self._paused_at = now
        self._part_at = math.inf  # when the incomplete frame began
        self.deadline = now + _LOOK_S
        self.crowded = False

    @abstractmethod
    def opened(self, stream: Stream[Head]) -> None:
        """Handle the fields of a new request."""

    @abstractmethod
    def received(self, stream: Stream[Head], data: bytes) -> None:
        """Handle the next part of a body, the last one if `stream.ended`."""

    @abstractmethod
    def overdue(self, stream: Stream[Head]) -> None:
        """End a stream whose deadline is exceeded."""

    @abstractmethod
    def gone(self, stream: Stream[Head]) -> None:
        """Forget a stream that the peer ended before its answer."""

    # ---- the connection ----

    def connection_made(self, transport: Any) -> None:
        self.transport = self.outbox.transport = transport
        encrypted = transport.get_extra_info("ssl_object")
        if encrypted is not None and encrypted.selected_alpn_protocol() != "h2":  # RFC 9113, section 3.2
            transport.abort()
            self._over = True
            return
        values = {
            frames.MAX_CONCURRENT_STREAMS: MAX_STREAMS,
            frames.INITIAL_WINDOW_SIZE: self._requests.stream_credit,
            frames.MAX_HEADER_LIST_SIZE: self.gate.limits.head_limit_bytes,
        }
        more = RECEIVE_BYTES - frames.WINDOW_BYTES
        self.outbox.put(frames.settings(values), frames.window_update(0, more))
        beyond = self.gate.add(self)
        self.crowded = beyond > 0
        if beyond > SPARE_CONNECTIONS:
            self.fail(ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too many connections"))
        self.outbox.flush()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's signature
        self._over = True
        self.gate.connections.discard(self)
        self.outbox.drop()
        del self._requests  # breaks a reference cycle, which only the garbage collector could find

    # ---- what arrives ----

    def data_received(self, data: bytes) -> None:
        if self._over:
            return
        self._unread = self._unread + data if self._unread else data
        if not (self._waits_for_turn or self._write_paused):
            self._work()

    def _work(self) -> None:
        self._requests.now = now = perf_counter()
        try:
            try:
                self._parse(now)
            finally:
                self.gate.core.rounds.flush()  # one write answers all requests of this read, whatever followed them
        except ConnectionFault as fault:
            self.fail(fault)
        except Exception as error:  # noqa: BLE001  # the last line of defence: whatever it is, the peer is told
            log_defect(error)
            self.fail(ConnectionFault(ErrorCode.INTERNAL_ERROR, "internal server error"))
        self.outbox.flush()

    def _parse(self, now: float) -> None:
        take, unread, position, size = self._requests.take, self._unread, 0, len(self._unread)
        if not self._greeted:
            position = self._greet(unread)
            if not self._greeted:
                return
        while size - position >= frames.HEAD_BYTES and not (self._write_paused or self._over):
            high, low, kind, flags, number = frames.HEAD.unpack_from(unread, position)
            length = high << 16 | low
            if length > frames.FRAME_BYTES:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "a frame is too long")
            start = position + frames.HEAD_BYTES
            if start + length > size:
                break
            if perf_counter() - now > TURN_S:
                self._waits_for_turn = True
                self.transport.pause_reading()
                self._loop.call_soon(self._take_turn)
                break
            position = start + length
            take(kind, flags, number, unread[start:position])
        self._unread = unread[position:]
        if not self._unread:
            self._part_at = math.inf
        elif position or self._part_at == math.inf:
            self._part_at = now

    def _greet(self, start: bytes) -> int:
        if not frames.PREFACE.startswith(start[: len(frames.PREFACE)]):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "not HTTP/2: invalid connection preface")
        self._greeted = len(start) >= len(frames.PREFACE)
        return len(frames.PREFACE) if self._greeted else 0

    def _take_turn(self) -> None:
        self._waits_for_turn = False
        self._go_on()

    def _go_on(self) -> None:
        """Parse the unread bytes, and read on once all are parsed."""
        if self._over or self._write_paused or self._waits_for_turn:
            return
        self._work()
        if not (self._over or self._write_paused or self._waits_for_turn):
            self.transport.resume_reading()

    # ---- waiting ----

    def pause_writing(self) -> None:
        """Pause parsing until the peer reads its answers."""
        self._write_paused = True
        self._paused_at = perf_counter()
        self.transport.pause_reading()

    def resume_writing(self) -> None:
        self._write_paused = False
        self._part_at = math.inf  # the peer is not late: bytes that came meanwhile were left unread
        self._loop.call_soon(self._go_on)  # in a later call, since the parser may be active in this one

    def expire(self, now: float) -> None:
        """End overdue streams, or the connection if it is overdue itself."""
        self.deadline = now + _LOOK_S
        limits = self.gate.limits
        if self._over or (self._write_paused and now > self._paused_at + limits.body_timeout_s):
            self.abort()
        elif now > self.streams.parted_at + _LINGER_S:
            self.close()
        elif now > self._owed_since() + limits.head_timeout_s:
            self.fail(ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "the caller sends too slowly"))
        else:
            self._expire_streams(now)
            if self.outbox.leaving or (not self.streams.open and now > self._requests.now + _IDLE_S):
                self.outbox.leave()
            self.outbox.flush()

    def _owed_since(self) -> float:
        """Return the time since which the peer owes its settings or the rest of a frame or field block; infinite if it owes nothing."""
        owed = self._requests.owed_since
        return owed if self._write_paused else min(owed, self._part_at)

    def _expire_streams(self, now: float) -> None:
        for stream in [each for each in self.streams.open.values() if each.deadline <= now]:
            self.overdue(stream)
        taken = now - self.gate.limits.body_timeout_s
        for stream in [stream for stream, since in self.outbox.waiting.items() if since < taken]:
            self.outbox.end_stream(stream.id, ErrorCode.CANCEL)

    # ---- the end ----

    def shutdown(self) -> None:
        """Take no new request, except those sent before the peer could know of the shutdown."""
        if not (self.outbox.leaving or self._over):
            self.outbox.announce_end()
            self.outbox.flush()

    def fail(self, fault: ConnectionFault) -> None:
        """Send GOAWAY with the fault, and close the connection."""
        self.outbox.put(frames.goaway(self.streams.last, fault.code, str(fault)))
        self.outbox.flush()
        self.close()

    def close(self) -> None:
        """Close the connection; written bytes are still sent if the peer reads them soon."""
        self._over = True
        self.outbox.drop()
        self.transport.close()

    def abort(self) -> None:
        """Close the connection at once, and drop unsent bytes."""
        self._over = True
        self.transport.abort()
