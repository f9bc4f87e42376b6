"""The requests of an HTTP/2 connection: the peer's frames, checked one by one against RFC 9113."""

from __future__ import annotations

import math
from collections.abc import Callable
from time import perf_counter
from typing import Generic, Protocol

from bentos.protocols.connections.gate import Gate
from bentos.protocols.http2 import frames
from bentos.protocols.http2.fields import FieldReader, Fields, MalformedError
from bentos.protocols.http2.frames import ConnectionFault, ErrorCode, StreamFault
from bentos.protocols.http2.outbox import GOODBYE, Outbox
from bentos.protocols.http2.ration import Ration
from bentos.protocols.http2.streams import MAX_STREAMS, Head, Stream, Streams

RECEIVE_BYTES = 4 * 1024 * 1024  # window of the connection
_PRIORITY_BYTES = 5
_SETTINGS_AT_ONCE = 64
# Of field blocks that are read, so that a request is refused and not the connection, which a proxy's callers share; Envoy passes 60 KiB on.
_BLOCK_BYTES = 128 * 1024


class Answering(Protocol[Head]):
    """An object that answers requests."""

    def opened(self, stream: Stream[Head]) -> None:
        """Handle the fields of a new request."""

    def received(self, stream: Stream[Head], data: bytes) -> None:
        """Handle the next part of a body, the last one if `stream.ended`."""


class Requests(Generic[Head]):
    """A reader of a peer's frames, which hands the requests to `answering`.

    Attributes:
        now: the time by `perf_counter` at which the bytes being read came.
        stream_credit: bytes that the peer may send of a stream before it is allowed more.
    """

    def __init__(
        self,
        gate: Gate,
        make_head: Callable[[Fields], Head],
        answering: Answering[Head],
        streams: Streams[Head],
        outbox: Outbox[Head],
        ration: Ration,
    ) -> None:
        self.now = perf_counter()
        self.stream_credit = min(gate.limits.body_limit_bytes + frames.WINDOW_BYTES, frames.LARGEST_WINDOW_BYTES)
        self._gate = gate
        self._answering = answering
        self._streams = streams
        self._outbox = outbox
        self._ration = ration
        self._longest_block = max(_BLOCK_BYTES, 4 * gate.limits.head_limit_bytes)
        self._reader = FieldReader(self._longest_block, make_head)
        self._made_at = self.now
        self._settled = False  # the peer's settings have come
        self._block: bytearray | None = None  # an incomplete field block, which CONTINUATION must follow
        self._block_head = (0, 0)
        self._block_at = self.now
        self._credit = RECEIVE_BYTES

    @property
    def owed_since(self) -> float:
        """The time since which the peer owes its settings, or the rest of a field block; infinite if it owes nothing."""
        if not self._settled:
            return self._made_at
        return self._block_at if self._block is not None else math.inf

    def take(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        """Read one frame.

        Raises:
            ConnectionFault: the peer broke a rule of the connection, not just of one stream.
        """
        if self._block is not None and kind != frames.CONTINUATION:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "CONTINUATION expected: a field block is incomplete")
        if not self._settled and kind != frames.SETTINGS:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "the first frame must be SETTINGS")
        if kind >= len(_TAKERS):
            self._spend()
            return
        try:
            _TAKERS[kind](self, flags, number & frames.LARGEST_STREAM, payload)
        except StreamFault as fault:
            self._spend()
            self._outbox.end_stream(fault.stream, fault.code)

    def _spend(self) -> None:
        self._ration.spend(self.now)

    def _take_headers(self, flags: int, number: int, payload: bytes) -> None:
        if not number:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "HEADERS without a stream")
        if flags & frames.PADDED:
            payload = frames.without_padding(flags, payload)
        if flags & frames.WITH_PRIORITY:
            self._check_priority(number, payload)
            payload = payload[_PRIORITY_BYTES:]
        if flags & frames.END_HEADERS:
            self._take_block(number, flags, payload)
        else:
            self._block, self._block_head, self._block_at = bytearray(payload), (number, flags), self.now
            self._check_block(len(payload))

    def _take_continuation(self, flags: int, number: int, payload: bytes) -> None:
        block, (stream, head_flags) = self._block, self._block_head
        if block is None or number != stream:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "CONTINUATION without HEADERS")
        self._spend()
        block += payload
        self._check_block(len(block))
        if flags & frames.END_HEADERS:
            self._block = None
            self._take_block(number, head_flags, bytes(block))

    def _check_block(self, size: int) -> None:
        if size > self._longest_block:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "the fields are too long")

    def _take_block(self, number: int, flags: int, block: bytes) -> None:
        self._check_block(len(block))
        if number <= self._streams.last:
            self._take_trailers(number, flags, block)
            return
        if not number & 1:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a client's streams must have odd numbers")
        if self._streams.left:
            self._reader.decode(block)  # although it is dropped, since it may change the dynamic table
            return
        self._streams.last = number
        try:
            head = self._reader.read(block)
        except MalformedError:
            raise StreamFault(ErrorCode.PROTOCOL_ERROR, number) from None
        if len(self._streams.open) >= MAX_STREAMS:
            raise StreamFault(ErrorCode.REFUSED_STREAM, number)
        deadline = self.now + self._gate.limits.body_timeout_s
        stream = Stream(number, head, self.now, deadline, self._outbox.first_window, self.stream_credit)
        self._streams.add(stream)
        if flags & frames.END_STREAM:
            stream.ended = True
        self._answering.opened(stream)
        if stream.ended and stream.id in self._streams.open:
            self._answering.received(stream, b"")

    def _take_trailers(self, number: int, flags: int, block: bytes) -> None:
        """Take the fields after a body, which only mark its end."""
        fields = self._reader.decode(block)
        stream = self._streams.open.get(number)
        if stream is None or stream.ended:
            if not self._streams.is_late(number):
                raise ConnectionFault(ErrorCode.STREAM_CLOSED, "HEADERS on a closed stream")
            self._take_late(number, flags)
        elif not flags & frames.END_STREAM or any(name.startswith(b":") for name, _ in fields):
            raise StreamFault(ErrorCode.PROTOCOL_ERROR, number)
        else:
            stream.ended = True
            self._answering.received(stream, b"")

    def _take_data(self, flags: int, number: int, payload: bytes) -> None:
        size = len(payload)  # with its padding, which counts (RFC 9113, section 6.1)
        self._credit -= size
        if self._credit < 0:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "the connection's window is exceeded")
        if self._credit < RECEIVE_BYTES // 2:
            self._outbox.put(frames.window_update(0, RECEIVE_BYTES - self._credit))
            self._credit = RECEIVE_BYTES
        if flags & frames.PADDED:
            payload = frames.without_padding(flags, payload)
        stream = self._streams.open.get(number)
        if stream is None or stream.ended:
            self._take_late(number, flags)
            return
        stream.credit -= size
        if stream.credit < 0:
            raise StreamFault(ErrorCode.FLOW_CONTROL_ERROR, number)
        if flags & frames.END_STREAM:
            stream.ended = True
        elif not payload:
            self._spend()
        elif stream.credit < self.stream_credit // 2:
            self._outbox.put(frames.window_update(number, self.stream_credit - stream.credit))
            stream.credit = self.stream_credit
        self._answering.received(stream, payload)

    def _take_late(self, number: int, flags: int) -> None:
        """Drop a frame for a closed stream if the peer could not know that it is closed; else raise StreamFault."""
        self._check_known(number)
        if number > self._streams.last:
            return
        if not self._streams.is_late(number):
            raise StreamFault(ErrorCode.STREAM_CLOSED, number)
        if flags & frames.END_STREAM:
            self._streams.end_late(number)
        else:
            self._spend()

    def _check_known(self, number: int) -> None:
        if not number & 1 or (number > self._streams.last and not self._streams.left):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a frame on an idle stream")

    def _take_priority(self, _: int, number: int, payload: bytes) -> None:
        self._spend()
        if not number:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "PRIORITY without a stream")
        self._check_priority(number, payload)
        if len(payload) != _PRIORITY_BYTES:
            raise StreamFault(ErrorCode.FRAME_SIZE_ERROR, number)

    def _check_priority(self, number: int, payload: bytes) -> None:
        """Reject a stream that depends on itself; otherwise ignore priorities, which RFC 9113 deprecates."""
        if len(payload) < _PRIORITY_BYTES:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "a priority is too short")
        if int.from_bytes(payload[:4], "big") & frames.LARGEST_STREAM == number:
            raise StreamFault(ErrorCode.PROTOCOL_ERROR, number)

    def _take_reset(self, _: int, number: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "RST_STREAM has 4 bytes")
        self._check_known(number)
        self._spend()
        self._streams.end_late(number)
        self._outbox.forget(number)

    def _take_settings(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "SETTINGS on a stream")
        if len(payload) % frames.SETTING.size or (flags & frames.ACK and payload):
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS of an invalid length")
        if len(payload) > _SETTINGS_AT_ONCE * frames.SETTING.size:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too many settings")
        if flags & frames.ACK:
            return
        self._spend()
        self._settled = True
        for key, value in frames.SETTING.iter_unpack(payload):
            self._apply(key, value)
        self._outbox.put(frames.frame(frames.SETTINGS, frames.ACK, 0))
        self._outbox.send_waiting()

    def _apply(self, key: int, value: int) -> None:
        if key == frames.ENABLE_PUSH and value > 1:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "ENABLE_PUSH is 0 or 1")
        if key == frames.MAX_FRAME_SIZE:
            if not frames.FRAME_BYTES <= value <= frames.LARGEST_FRAME_BYTES:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "MAX_FRAME_SIZE is out of range")
            self._outbox.frame_bytes = value
        if key == frames.INITIAL_WINDOW_SIZE:
            self._outbox.set_first_window(value)

    def _take_push(self, _: int, __: int, ___: bytes) -> None:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "PUSH_PROMISE from a client")

    def _take_ping(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "PING on a stream")
        if len(payload) != 8:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "PING has 8 bytes")
        self._spend()
        if not flags & frames.ACK:
            self._outbox.put(frames.frame(frames.PING, frames.ACK, 0, payload))
        elif self._outbox.leaving and payload == GOODBYE:
            self._outbox.leave()

    def _take_goaway(self, _: int, number: int, __: bytes) -> None:
        if number:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "GOAWAY on a stream")
        self._outbox.leave()

    def _take_window(self, _: int, number: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "WINDOW_UPDATE has 4 bytes")
        self._spend()
        more = int.from_bytes(payload, "big") & frames.LARGEST_WINDOW_BYTES
        if not number:
            self._outbox.widen(more)
            return
        stream = self._streams.open.get(number)
        if stream is None:
            self._check_known(number)
        else:
            self._outbox.widen_stream(stream, more)


_TAKERS = (
    Requests._take_data,
    Requests._take_headers,
    Requests._take_priority,
    Requests._take_reset,
    Requests._take_settings,
    Requests._take_push,
    Requests._take_ping,
    Requests._take_goaway,
    Requests._take_window,
    Requests._take_continuation,
)
