"""One HTTP/1.1 connection, whatever is asked on it: its bytes, its turns, its waiting and its end.

Whatever a caller does costs it its connection and us little: heads, bodies and times have limits (`ration`), and nobody's answers pile
up unread (`outbox`). What is asked, and by whom it is answered, is of `requests`.
"""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import Any

from bentos.errors import OverloadedError
from bentos.protocols.connections.gate import SPARE_CONNECTIONS
from bentos.protocols.http.http1.door import Door
from bentos.protocols.http.http1.outbox import Outbox
from bentos.protocols.http.http1.ration import IDLE, Ration
from bentos.protocols.http.http1.requests import SLICE, Requests
from contract.errors import RequestError

# A caller that is refused while it still sends gets to read the answer: what it sends is read and dropped, so much at most, for the
# time that a body has, and until nothing has come for this long. Closing at once would reset the connection (RFC 9112, section 9.6).
_LINGER_BYTES = 64 * 1024 * 1024
_LINGER_S = 2.0
# Who has a connection open when the server stops may not know it yet: a request that comes in this time is still answered.
STOPPING_S = 1.0
# Others must not wait for longer than this, some slices, until what one caller has sent is parsed.
_TURN_S = 0.002


class HttpConnection(asyncio.Protocol):
    """Pass incoming bytes to `Requests`, and wait where the `Outbox` is blocked or the `Ration` is spent."""

    def __init__(self, door: Door) -> None:
        self.door = door
        self.transport: Any = None
        self.ration = Ration(door)
        self.outbox = Outbox()
        self.requests = Requests(door, self.ration, self.outbox)
        self._loop = asyncio.get_running_loop()
        self._now = perf_counter()
        self._unread: bytes | memoryview = b""  # put aside until `_stalled` ends
        self._stalled = False  # nothing is parsed for now
        self._ended = False  # the caller sends no more
        self._dropped = 0
        self._lingers_until = 0.0

    @property
    def deadline(self) -> float:
        """Return when, by `perf_counter`, the connection has waited long enough."""
        return self.ration.deadline

    @property
    def in_flight(self) -> int:
        """Return the number of requests whose heads have come and whose bodies are awaited."""
        return self.requests.in_flight

    def connection_made(self, transport: Any) -> None:
        self.transport = self.outbox.transport = transport
        beyond = self.door.add(self)
        if beyond > 0:
            self.requests.crowded = self.outbox.last = True
        if beyond > SPARE_CONNECTIONS:
            self._refuse(OverloadedError("too many connections"))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._stalled = True
        self.requests.drop()
        self.ration.release()
        self.outbox.drop()
        self.door.connections.discard(self)

    def eof_received(self) -> bool:
        """Answer what a caller asked before it closed its side; TLS has no such half-open connection."""
        waits = self._unread or self.outbox.waiting
        self._ended = bool(waits) and self.transport.get_extra_info("sslcontext") is None
        return self._ended

    # ---- what arrives ----

    def data_received(self, data: bytes) -> None:
        if self.door.admission.is_full and not self._stalled and self.requests.shed(data):
            return
        if not self._stalled and len(data) <= SLICE:
            self._parse(data)
        elif self.outbox.over:
            self._drop(data)
        else:
            self._unread = memoryview(bytes(self._unread) + data)
            self._catch_up()

    def _drop(self, data: bytes) -> None:
        """Drop what comes after the last answer, up to a bound."""
        self._dropped += len(data)
        self.ration.deadline = min(perf_counter() + _LINGER_S, self._lingers_until)
        if self._dropped > _LINGER_BYTES:
            self.transport.close()

    def _catch_up(self) -> None:
        """Parse what was put aside as far as may be, and read no more before that is done."""
        self._now = started = perf_counter()
        while self._unread and not self._stalled:
            if self._now - started > _TURN_S:
                self._stalled = True
                self._loop.call_soon(self._resume)
                break
            data, self._unread = self._unread[:SLICE], self._unread[SLICE:]
            self._parse(data)
        if self.outbox.over:
            return
        if self._stalled:
            self.transport.pause_reading()
        elif self._ended:
            self._end()
        else:
            self._unread = b""
            self.transport.resume_reading()

    def _parse(self, data: bytes | memoryview) -> None:
        self._now = now = perf_counter()
        self.requests.read(data, now)
        outbox = self.outbox
        if outbox.over:
            self._end()
        if outbox.waiting or (outbox.blocked and not outbox.over):
            self._stall()  # the requests behind that one have set deadlines of their own

    def _refuse(self, error: RequestError) -> None:
        self.requests.refuse(error)
        if self.outbox.over:
            self._end()

    # ---- waiting, and the end ----

    def _stall(self) -> None:
        """Parse nothing for now."""
        self._stalled = True
        self.transport.pause_reading()
        self.ration.deadline = perf_counter() + self.door.limits.body_timeout_s

    def pause_writing(self) -> None:
        """Write no more answers until the caller reads the last ones."""
        self.outbox.blocked = True
        self._stall()

    def resume_writing(self) -> None:
        waited = bool(self.outbox.waiting)
        self.outbox.unblock()
        if self.outbox.waiting:
            self.ration.deadline = perf_counter() + self.door.limits.body_timeout_s
        elif waited and self.outbox.over:
            self._end()
        else:
            self._resume_soon()

    def _resume_soon(self) -> None:
        """Resume in a call of its own, since the parser may be at work in this one."""
        wait_s = self.door.keep_alive_s if self.ration.phase == IDLE else self.door.limits.head_timeout_s
        self.ration.deadline = perf_counter() + wait_s
        self._loop.call_soon(self._resume)

    def _resume(self) -> None:
        if not (self.outbox.waiting or self.outbox.over or self.outbox.blocked):
            self._stalled = False
            self._catch_up()

    def expire(self, now: float) -> None:
        """Refuse the request that is overdue, or end the connection."""
        self.ration.deadline = now + _LINGER_S
        if self.outbox.over or self.outbox.blocked or self.transport.is_closing():
            self.transport.abort()
            return
        overdue = self.ration.overdue()
        if overdue is None:
            self._end()
        else:
            self._refuse(overdue)

    def shutdown(self) -> None:
        """Answer one last request: the one that has begun to arrive, or does so within a moment."""
        self.outbox.last = True
        if self.ration.phase == IDLE and not (self._unread or self.outbox.waiting):
            self.ration.deadline = min(self.ration.deadline, perf_counter() + STOPPING_S)

    def _end(self) -> None:
        """Give no further answer, and close once the caller has read the last one: at once would reset the connection while it sends."""
        self.outbox.over = self._stalled = True
        self._unread = b""
        self.ration.release()
        if self.outbox.waiting:
            return  # it ends when that is out
        now = perf_counter()
        self._lingers_until = now + self.door.limits.body_timeout_s
        self.ration.deadline = now + _LINGER_S
        if self.ration.phase == IDLE or self._ended:
            self.transport.close()
            return
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.transport.resume_reading()
