"""The streams of an HTTP/2 connection: requests and their answers, from the fields of the one to the end of the other."""

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
        head: what its fields were read as.
        started: when they came, by `perf_counter`.
        deadline: when all of it must have come, or what else the application says.
        body: what has come of it and is not dealt with.
        ended: whether all of it has come.
        state: the application's.
        credit: bytes that the peer may send.
        window: bytes that the peer will take.
        pending: bytes of the answer that wait for that.
        trailers: the block that ends the answer, once there is one.
        held: bytes of memory that it is accounted for.
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
        gone: told of each stream that ended before it was answered; nobody waits for that any more.

    Attributes:
        open: by number, in the order in which they were opened.
        last: the number of the newest.
        left: no new one is answered: the peer was told which was the last.
        parted_at: when all were answered after that, by `perf_counter`; infinite until then.
    """

    def __init__(self, gate: Gate, gone: Callable[[Stream[Head]], None]) -> None:
        self._gate = gate
        self._gone: Callable[[Stream[Head]], None] | None = gone
        self.open: dict[int, Stream[Head]] = {}
        self._late: dict[int, None] = {}  # answered or ended before their callers had: what still comes is dropped
        self.last = 0
        self.left = False
        self.parted_at = math.inf

    def add(self, stream: Stream[Head]) -> None:
        self.open[stream.id] = stream

    def hold(self, stream: Stream[Head], size: int) -> None:
        """Account for memory that a stream takes, or gives back."""
        stream.held += size
        self._gate.held_bytes += size

    def remove(self, stream: Stream[Head]) -> None:
        """Remove a stream that is answered, or that nobody waits for."""
        del self.open[stream.id]
        if stream.held:
            self.hold(stream, -stream.held)
        if self.left and not self.open:
            self.parted_at = perf_counter()

    def forget(self, number: int) -> None:
        """End a stream that is not answered, if it is open."""
        stream = self.open.get(number)
        if stream is not None:
            self.remove(stream)
            if self._gone is not None:
                self._gone(stream)

    def leave(self) -> None:
        """Answer no stream that is opened from now on."""
        self.left = True
        if not self.open:
            self.parted_at = perf_counter()

    def drop(self) -> None:
        """Forget all streams, and whom to tell: there will be no other."""
        for number in list(self.open):
            self.forget(number)
        self._gone = None

    # ---- streams that ended here before their callers knew ----

    def expect_late(self, number: int) -> None:
        """Drop what still comes for a stream that ended here first."""
        if len(self._late) >= MAX_STREAMS:
            del self._late[next(iter(self._late))]
        self._late[number] = None

    def is_late(self, number: int) -> bool:
        """Return whether the stream ended here before its caller could know."""
        return number in self._late

    def end_late(self, number: int) -> None:
        """Expect nothing more for a stream: its caller has ended it too."""
        self._late.pop(number, None)
