"""The outbox of one HTTP connection: what waits to be written, until its caller has read what went before."""

from __future__ import annotations

from collections import deque
from typing import Any

# Of a long answer no more than this is written before its caller has read what went before.
CHUNK = 64 * 1024


class Outbox:
    """The answers of one connection, in their order.

    Attributes:
        transport: what is written to; the connection sets it when it is made.
        last: the next answer is the last one.
        over: there is no further answer.
        waiting: long answers, and what comes behind them.
        blocked: the caller must read before it gets more.
    """

    __slots__ = ("blocked", "last", "over", "transport", "waiting")

    def __init__(self) -> None:
        self.transport: Any = None
        self.last = self.over = self.blocked = False
        self.waiting: deque[memoryview] = deque()

    def put(self, data: bytes, keep: bool = True) -> None:
        """Write data after all that waits; where the connection is not kept, they are the last."""
        if self.waiting or len(data) > CHUNK:
            self.waiting.append(memoryview(data))
            self._write_on()
        else:
            self.transport.write(data)
        if not keep:
            self.over = True

    def unblock(self) -> None:
        """Write what waits, until the caller has enough again."""
        self.blocked = False
        self._write_on()

    def drop(self) -> None:
        """Forget what waits: the caller has gone away."""
        self.over = True
        self.waiting.clear()

    def _write_on(self) -> None:
        while self.waiting and not self.blocked:
            data = self.waiting.popleft()
            self.transport.write(data[:CHUNK])
            if len(data) > CHUNK:
                self.waiting.appendleft(data[CHUNK:])
