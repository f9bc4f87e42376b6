"""The streams of an HTTP/2 connection: one for each request and its answer."""

from __future__ import annotations

import math
from collections.abc import Callable
from time import perf_counter
from typing import Any, Generic, TypeVar

from bentos.protocols.connections.gate import Gate

MAX_STREAMS = 128  # at once. RFC 9113 recommends no fewer than 100
Head = TypeVar("Head")


class Stream(Generic[Head]):
    """One request and its answer.

    Attributes:
        head: the request's head, made from its fields.
        started: the time by `perf_counter` at which they came.
        deadline: the time at which the whole request must have come, unless the application sets another.
        body: received bytes that are not yet handled.
        ended: the whole request has come.
        state: the application's.
        credit: bytes that the peer may send.
        window: bytes that the peer accepts.
        pending: bytes of the answer that wait for the window.
        trailers: the block that ends the answer, once there is one.
        held: bytes of memory counted in the gate's `held_bytes`.
    """

    __slots__ = (
        *("body", "credit", "deadline", "ended", "head", "held", "id", "pending", "started", "state", "trailers"),
        "window",
    )

    def __init__(self, number: int, head: Head, started: float, deadline: float, window: int, credit: int) -> None:
        self.id = number
        self.head = head
        self.started = started
        self.deadline = deadline
        self.window = window
        self.credit = credit
        self.body: bytearray | None = None
        self.ended = False
        self.state: Any = None
        self.pending: bytes | memoryview = b""
        self.trailers: bytes | None = None
        self.held = 0


class Streams(Generic[Head]):
    """The streams of one connection.

    Args:
        gone: called with each stream that the peer ended before its answer.

    Attributes:
        open: the open streams by number, in the order of their opening.
        last: the number of the newest.
        left: GOAWAY has named the last stream, and no newer one is answered.
        parted_at: the time by `perf_counter` at which all were answered after that; infinite until then.
    """

    def __init__(self, gate: Gate, gone: Callable[[Stream[Head]], None]) -> None:
        self._gate = gate
        self._gone: Callable[[Stream[Head]], None] | None = gone
        self.open: dict[int, Stream[Head]] = {}
        self._late: dict[int, None] = {}  # ended here before the peer could know, so its further frames are dropped
        self.last = 0
        self.left = False
        self.parted_at = math.inf

    def add(self, stream: Stream[Head]) -> None:
        """Add a new stream."""
        self.open[stream.id] = stream

    def hold(self, stream: Stream[Head], size: int) -> None:
        """Count bytes of memory that a stream takes, or returns if `size` is negative."""
        stream.held += size
        self._gate.held_bytes += size

    def remove(self, stream: Stream[Head]) -> None:
        """Remove a stream that is answered or dropped."""
        del self.open[stream.id]
        if stream.held:
            self.hold(stream, -stream.held)
        if self.left and not self.open:
            self.parted_at = perf_counter()

    def forget(self, number: int) -> None:
        """Drop an unanswered stream, if it is open."""
        stream = self.open.get(number)
        if stream is not None:
            self.remove(stream)
            if self._gone is not None:
                self._gone(stream)

    def leave(self) -> None:
        """Answer no stream opened from now on."""
        self.left = True
        if not self.open:
            self.parted_at = perf_counter()

    def drop(self) -> None:
        """Drop all streams, and the callback `gone`, since the connection has ended."""
        for number in list(self.open):
            self.forget(number)
        self._gone = None

    # ---- streams that ended here before the peer could know ----

    def expect_late(self, number: int) -> None:
        """Drop further frames of a stream that ended here first."""
        if len(self._late) >= MAX_STREAMS:  # the oldest goes, so that no peer can make it grow
            del self._late[next(iter(self._late))]
        self._late[number] = None

    def is_late(self, number: int) -> bool:
        """Return whether the stream ended here before the peer could know."""
        return number in self._late

    def end_late(self, number: int) -> None:
        """Expect no further frames of a stream, which the peer has ended too."""
        self._late.pop(number, None)
