"""One HTTP connection, whatever is asked on it: its bytes into the parser and its answers out, its times, its limits and its end.

Whatever a caller does costs it its connection and us little: heads, bodies and times have limits, and nobody's answers pile up unread.
What is asked, and by whom it is answered, is `bentos.protocols.http.protocol`'s.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections import deque
from time import perf_counter
from typing import Any

import httptools

from bentos.errors import (
    BodyTimeoutError,
    HeadTimeoutError,
    HeadTooLongError,
    OverloadedError,
    TargetTooLongError,
    log_defect,
)
from bentos.protocols.connections.gate import SPARE_CONNECTIONS
from bentos.protocols.http.door import Door
from bentos.protocols.http.exchange import Headers
from bentos.protocols.http.rules import unparsed
from contract.errors import RequestError, TooLargeError

IDLE, HEAD, BODY = range(3)
# What is parsed at a time, so that the answers to what comes pipelined pile up no further before their caller must read them.
SLICE = 4096
# A caller that is refused while it still sends gets to read the answer: what it sends is read and dropped, so much at most, for the
# time that a body has, and until nothing has come for this long. Closing at once would reset the connection (RFC 9112, section 9.6).
_LINGER_BYTES = 64 * 1024 * 1024
_LINGER_S = 2.0
# Who has a connection open when the server stops may not know it yet: a request that comes in this time is still answered.
STOPPING_S = 1.0
# Of a long answer no more than this is written before its caller has read what went before.
CHUNK = 64 * 1024
# Others must not wait for longer than this, some slices, until what one caller has sent is parsed.
_TURN_S = 0.002
# What is neither head nor body, the heads of chunks and trailers, may be this much and a quarter of the body: a chunk costs a call.
_FRAMING_BYTES = 64 * 1024


class Connection(asyncio.Protocol):
    """Parses what comes and writes what it is told to, within the limits of its `Door`.

    Attributes:
        deadline: when, by `perf_counter`, what the connection waits for must have happened.
    """

    def __init__(self, door: Door) -> None:
        self.door = door
        self.transport: Any = None
        self.parser: Any = _parser(self)
        self._again = b""  # the head of a request, to be parsed once more
        self.url = b""
        self._loop = asyncio.get_running_loop()
        self._now = perf_counter()
        self.deadline = self._now + door.limits.head_timeout_s
        self._state = IDLE
        self._fields: Headers = {}  # of the head that is being read
        self._taken = 0  # bytes of a request that is not complete
        self._size = 0  # of its body so far
        self._unread: bytes | memoryview = b""  # put aside until `_stalled` ends
        self._stalled = False  # nothing is parsed for now
        self._unwritten: deque[memoryview] = deque()  # of a long answer, and what waits behind it
        self._write_paused = False  # the caller does not read
        self._ended = False  # the caller sends no more
        self._last = False  # the next answer is the last one
        self._over = False  # there is no further answer; what comes is dropped
        self._dropped = 0
        self._lingers_until = 0.0
        self._crowded = False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        beyond = self.door.add(self)
        self._crowded = beyond > 0
        self._last |= self._crowded
        if beyond > SPARE_CONNECTIONS:
            self._refuse(OverloadedError("too many connections"))

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002
        self._over = self._stalled = True
        self._release()
        self._unwritten.clear()
        self.door.connections.discard(self)
        self.parser = None  # which knows this connection, as this knows it: nobody should have to look for the circle

    @abstractmethod
    def _refuse(self, error: RequestError) -> None:
        """Answer what is being read with an error, and read no further; nobody gets a second answer."""

    @abstractmethod
    def _shed(self, data: bytes) -> bool:
        """Refuse what has come without parsing it, if the server has no time and this may be; whether it did."""

    def eof_received(self) -> bool:
        """A caller that will send no more still gets what it has asked for; TLS has no such half-open connection."""
        waits = self._unread or self._unwritten
        self._ended = bool(waits) and self.transport.get_extra_info("sslcontext") is None
        return self._ended

    # ---- what arrives ----

    def data_received(self, data: bytes) -> None:
        if self.door.admission.is_full and self._shed(data):
            return
        if not self._stalled and len(data) <= SLICE:
            self._parse(data)
        elif self._over:
            self._drop(data)
        else:
            self._unread = memoryview(bytes(self._unread) + data)
            self._catch_up()

    def _drop(self, data: bytes) -> None:
        """Read on after the last answer, up to a bound."""
        self._dropped += len(data)
        self.deadline = min(perf_counter() + _LINGER_S, self._lingers_until)
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
        if self._over:
            return
        if self._stalled:
            self.transport.pause_reading()
        elif self._ended:
            self._end()
        else:
            self._unread = b""
            self.transport.resume_reading()

    def _parse(self, data: bytes | memoryview) -> None:
        self._now = perf_counter()
        try:
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as stopped:
                self._feed_again(data[stopped.args[0] :])
        except httptools.HttpParserCallbackError as error:
            if not self._over:
                log_defect(error.__context__ or error)
                self._end()
        except httptools.HttpParserError:
            if not self._over:
                refused = unparsed(data if self._state == HEAD and not self._fields else b"")
                self._state = self._state or HEAD  # whoever sends this may send more
                self._refuse(refused)
        if self._unwritten or (self._write_paused and not self._over):
            self._stall()  # the requests behind that one have set deadlines of their own
        if self._state != IDLE and not self._over:
            self._count(len(data))

    def _feed_again(self, rest: bytes | memoryview) -> None:
        """Let a new parser see a head once more, and the rest: the last one has stopped after it, for another protocol."""
        while self._again:
            data, self._again = self._again + bytes(rest), b""
            self.parser = _parser(self)
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as stopped:
                rest = data[stopped.args[0] :]
            else:
                return
        self._end()  # of CONNECT, which was refused

    def _count(self, size: int) -> None:
        """Bound what a request may hold of this connection's, and of the server's, memory before it is complete."""
        limits = self.door.limits
        self._taken += size
        self.door.held_bytes += size
        if self._state == HEAD and self._taken > limits.head_limit_bytes:
            self._refuse(HeadTooLongError("the headers are too long") if self._fields else TargetTooLongError())
        elif self._taken - self._size > limits.head_limit_bytes + _FRAMING_BYTES + self._size // 4:
            self._refuse(TooLargeError("the body's chunks are too small, or its trailers too long"))
        elif self.door.is_full:
            self._refuse(OverloadedError("too many bodies are being sent at once"))

    def _release(self) -> None:
        self.door.held_bytes -= self._taken
        self._taken = 0

    # ---- answers ----

    def _put(self, data: bytes, keep: bool = True) -> None:
        """Write in its turn; what is not kept ends with this."""
        if self._unwritten or len(data) > CHUNK:
            self._unwritten.append(memoryview(data))
            self._over = not keep
            self._stall()
            self._write_on()
            return
        self.transport.write(data)
        if not keep:
            self._end()

    def _write_on(self) -> None:
        while self._unwritten and not self._write_paused:
            data = self._unwritten.popleft()
            self.transport.write(data[:CHUNK])
            if len(data) > CHUNK:
                self._unwritten.appendleft(data[CHUNK:])
        if self._unwritten:
            return
        if self._over:
            self._end()
        else:
            self._resume_soon()

    # ---- waiting, and the end ----

    def _stall(self) -> None:
        """Parse nothing for now."""
        self._stalled = True
        self.transport.pause_reading()
        self.deadline = perf_counter() + self.door.limits.body_timeout_s

    def pause_writing(self) -> None:
        """The caller does not read its answers: it gets no more of them until it does."""
        self._write_paused = True
        self._stall()

    def resume_writing(self) -> None:
        self._write_paused = False
        if self._unwritten:
            self.deadline = perf_counter() + self.door.limits.body_timeout_s
            self._write_on()
        else:
            self._resume_soon()

    def _resume_soon(self) -> None:
        """In a call of its own, since the parser may be at work in this one."""
        self.deadline = perf_counter() + (self.door.limits.head_timeout_s if self._state else self.door.keep_alive_s)
        self._loop.call_soon(self._resume)

    def _resume(self) -> None:
        if not (self._over or self._write_paused or self._unwritten):
            self._stalled = False
            self._catch_up()

    def expire(self, now: float) -> None:
        """The deadline has passed."""
        self.deadline = now + _LINGER_S
        if self._over or self._write_paused or self.transport.is_closing():
            self.transport.abort()
        elif self._state == HEAD:
            self._refuse(HeadTimeoutError(self.door.limits.head_timeout_s))
        elif self._state == BODY:
            self._refuse(BodyTimeoutError(self.door.limits.body_timeout_s))
        else:
            self._end()

    def shutdown(self) -> None:
        """The server stops: what has begun to arrive, or does so within a moment, is still answered, and is the last."""
        self._last = True
        if self._state == IDLE and not (self._unread or self._unwritten):
            self.deadline = min(self.deadline, perf_counter() + STOPPING_S)

    def _end(self) -> None:
        """No further answer. While the caller still sends, closing would reset the connection before it reads the last one."""
        self._over = self._stalled = True
        self._unread = b""
        self._release()
        if self._unwritten:
            return  # it ends when that is out
        now = perf_counter()
        self._lingers_until = now + self.door.limits.body_timeout_s
        self.deadline = now + _LINGER_S
        if self._state == IDLE or self._ended:
            self.transport.close()
            return
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self.transport.resume_reading()


def _parser(connection: Connection) -> Any:
    made = httptools.HttpRequestParser(connection)
    # Or a caller that says "close" and sends more is answered with an error, where it is owed an answer. Versions are ours to judge.
    made.set_dangerous_leniencies(lenient_data_after_close=True, lenient_version=True)
    return made
