"""One HTTP/1.1 connection: its bytes, turns, backpressure and end.

A hostile caller loses its connection and costs the server little: heads, bodies and times have limits (`ration`), and unread answers do
not pile up (`outbox`). `requests` parses and answers the requests.
"""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import Any

from bentos.errors import OverloadedError
from bentos.protocols.connections.gate import SPARE_CONNECTIONS, TURN_S
from bentos.protocols.http.http1.door import Door
from bentos.protocols.http.http1.outbox import Outbox
from bentos.protocols.http.http1.ration import IDLE, Ration
from bentos.protocols.http.http1.requests import SLICE, Requests
from contract.errors import RequestError

# A caller that is rejected while it still sends must be able to read the answer, so its bytes are read and dropped: so many at most, for
# the time that a body has, until none came for this long. Closing at once would reset the connection (RFC 9112, section 9.6).
_LINGER_BYTES = 64 * 1024 * 1024
_LINGER_S = 2.0
# A caller may not know yet that the server is shutting down: a request that arrives within this time is still answered.
STOPPING_S = 1.0


class HttpConnection(asyncio.Protocol):
    """A connection that passes bytes to `Requests`, and waits while the `Outbox` is blocked or the `Ration` is spent."""

    def __init__(self, door: Door) -> None:
        self.door = door
        self.transport: Any = None
        self.ration = Ration(door)
        self.outbox = Outbox()
        self.requests = Requests(door, self.ration, self.outbox, self._settle)
        self._loop = asyncio.get_running_loop()
        self._now = perf_counter()
        self._unread: bytes | memoryview = b""  # kept until `_stalled` ends
        self._stalled = False  # parsing is paused
        self._ended = False  # the caller has closed its side
        self._dropped = 0
        self._lingers_until = 0.0

    @property
    def deadline(self) -> float:
        """The time by `perf_counter` after which the connection expires."""
        return self.ration.deadline

    @property
    def in_flight(self) -> int:
        """The number of requests whose bodies are awaited."""
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
        """Answer the requests that came before the caller closed its side; TLS has no such half-open connection."""
        self.requests.flush()
        waits = self._unread or self.outbox.waiting
        self._ended = bool(waits) and self.transport.get_extra_info("sslcontext") is None
        return self._ended

    # ---- what arrives ----

    def data_received(self, data: bytes) -> None:
        if self.requests.waits:
            self.requests.flush()
        if self.door.admission.is_full and not self._stalled and self.requests.shed(data):
            return
        if not self._stalled and len(data) <= SLICE:
            self._parse(data)
        elif self.outbox.over:
            self._drop(data)
        else:
            self._unread = memoryview(bytes(self._unread) + data)  # sliced without a copy
            self._catch_up()

    def _drop(self, data: bytes) -> None:
        """Drop bytes that come after the last answer; close the connection beyond a bound."""
        self._dropped += len(data)
        self.ration.deadline = min(perf_counter() + _LINGER_S, self._lingers_until)
        if self._dropped > _LINGER_BYTES:
            self.transport.close()

    def _catch_up(self) -> None:
        """Parse the kept bytes for one turn at most; read on only once all are parsed."""
        self._now = started = perf_counter()
        while self._unread and not self._stalled:
            if self._now - started > TURN_S:
                self._stalled = True
                self._loop.call_soon(self._resume)
                break
            size = self.requests.awaited
            data, self._unread = self._unread[:size], self._unread[size:]
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
        self._settle()

    def _settle(self) -> None:
        """End or stall the connection if its last answer asks for that."""
        outbox = self.outbox
        if outbox.over:
            self._end()
        if outbox.waiting or (outbox.blocked and not outbox.over):
            self._stall()  # sets the deadline again, which requests parsed after that one have moved

    def _refuse(self, error: RequestError) -> None:
        self.requests.refuse(error)
        if self.outbox.over:
            self._end()

    # ---- waiting, and the end ----

    def _stall(self) -> None:
        """Pause parsing and reading, with the deadline of a body."""
        self._stalled = True
        self.transport.pause_reading()
        self.ration.deadline = perf_counter() + self.door.limits.body_timeout_s

    def pause_writing(self) -> None:
        """Stop writing and parsing until the caller reads its answers."""
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
        """Resume in a later call of the event loop, since the parser may be active in this one."""
        wait_s = self.door.keep_alive_s if self.ration.phase == IDLE else self.door.limits.head_timeout_s
        self.ration.deadline = perf_counter() + wait_s
        self._loop.call_soon(self._resume)

    def _resume(self) -> None:
        if not (self.outbox.waiting or self.outbox.over or self.outbox.blocked):
            self._stalled = False
            self._catch_up()

    def expire(self, now: float) -> None:
        """Reject the overdue request, or end the connection."""
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
        """Answer one last request, which has begun to arrive or does so within `STOPPING_S`."""
        self.outbox.last = True
        if self.ration.phase == IDLE and not (self._unread or self.outbox.waiting):
            self.ration.deadline = min(self.ration.deadline, perf_counter() + STOPPING_S)

    def _end(self) -> None:
        """Give no further answer, and close once the caller has read the last one; closing while it sends would reset the connection."""
        self.outbox.over = self._stalled = True
        self._unread = b""
        self.ration.release()
        if self.outbox.waiting:
            return  # `resume_writing` ends it once the answers are written
        now = perf_counter()
        self._lingers_until = now + self.door.limits.body_timeout_s
        self.ration.deadline = now + _LINGER_S
        if self.ration.phase == IDLE or self._ended:
            self.transport.close()
            return
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.transport.resume_reading()
