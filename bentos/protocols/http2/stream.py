"""One stream of an HTTP/2 connection: a request and its answer."""

from __future__ import annotations

from typing import Any, Generic, TypeVar

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
