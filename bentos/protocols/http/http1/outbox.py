"""The outbox of one HTTP connection: answers that wait until the caller has read the earlier ones."""

from __future__ import annotations

from collections import deque
from typing import Any

# A long answer is written in parts of this size, each once the caller has read enough of the earlier ones.
CHUNK = 64 * 1024


class Outbox:
    """The answers of one connection, in their order.

    Attributes:
        transport: the asyncio transport, which the connection sets once it is made.
        last: the next answer is the last one.
        over: there is no further answer.
        waiting: long answers and those behind them.
        blocked: the transport's buffer is full until the caller reads.
    """

    __slots__ = ("blocked", "last", "over", "transport", "waiting")

    def __init__(self) -> None:
        self.transport: Any = None
        self.last = self.over = self.blocked = False
        self.waiting: deque[memoryview] = deque()

    def put(self, data: bytes, keep: bool = True) -> None:
        """Write data after all that waits; without `keep`, as the last answer."""
        if self.waiting or len(data) > CHUNK:
            self.waiting.append(memoryview(data))
            self._write_on()
        else:
            self.transport.write(data)
        if not keep:
            self.over = True

    def unblock(self) -> None:
        """Write waiting data until the transport blocks again."""
        self.blocked = False
        self._write_on()

    def drop(self) -> None:
        """Discard waiting data: the caller has disconnected."""
        self.over = True
        self.waiting.clear()

    def _write_on(self) -> None:
        while self.waiting and not self.blocked:
            data = self.waiting.popleft()
            self.transport.write(data[:CHUNK])
            if len(data) > CHUNK:
                self.waiting.appendleft(data[CHUNK:])
