"""One HTTP connection: uvicorn's protocol, but for our own paths, which are answered within the parser's callbacks by one write.

No task, coroutine or event is made for such a request; BentoML's own pages go on to uvicorn and its ASGI application. Answers keep the
order of the requests: one that is ready while a page of BentoML's is still being made is held until that is out.

Whatever a caller does costs it its connection and us little: heads, bodies and times have limits, and nobody's answers pile up unread.
"""

from __future__ import annotations

import math
from functools import lru_cache
from time import perf_counter
from typing import Any, ClassVar
from urllib.parse import unquote

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from bentos.bentoml_pages import PATHS as BENTOML_PATHS
from bentos.bentoml_pages import READS
from bentos.errors import (
    BodyTimeoutError,
    BodyTooLongError,
    HeadTimeoutError,
    HeadTooLongError,
    OverloadedError,
    TargetTooLongError,
    UnsupportedUpgradeError,
    log_defect,
)
from bentos.gate import SPARE_CONNECTIONS
from bentos.http_app import HttpApp
from bentos.http_door import Door
from bentos.http_exchange import Headers, Request, Response
from contract.errors import RequestError

_IDLE, _HEAD, _BODY = range(3)
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
# What is parsed at a time, so that the answers to what comes pipelined pile up no further before their caller must read them.
_SLICE = 4096
# A caller that is refused while it still sends gets to read the answer if the rest is no more than this, within this time.
_LINGER_BYTES = 8 * 1024 * 1024
_LINGER_S = 2.0
# A request may take this many times the bytes of its longest body: each chunk has a head of its own.
_OVERHEAD = 8


class _Over(Exception):  # noqa: N818  # not an error: it ends the parsing where no further answer will be given
    pass


def protocol_for(app: HttpApp) -> type[HttpProtocol]:
    """The class of the connections to an application, for uvicorn's setting `http`."""
    return type("HttpProtocol", (HttpProtocol,), {"door": Door(app)})


class HttpProtocol(HttpToolsProtocol):
    """One connection. Use through `protocol_for`.

    Attributes:
        deadline: when, by `perf_counter`, what the connection waits for must have happened.
    """

    door: ClassVar[Door]

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._now = perf_counter()
        self.deadline = self._now + self.door.limits.head_timeout_s
        self._state = _IDLE
        self._fields: Headers = {}
        self._request: Request | None = None  # the one whose body is being read
        self._body: bytes | bytearray = b""
        self._size = 0  # of the body so far
        self._keep = True  # whether the request allows for another one after it
        self._handed_on = False  # the request being read is BentoML's
        self._taken = 0  # bytes of a request that is not complete
        self._unread: bytes | memoryview = b""  # put aside until `_stalled` ends
        self._stalled = False  # nothing is parsed for now
        self._last = False  # the next answer is the last one
        self._over = False  # there is no further answer; what comes is dropped
        self._dropped = 0
        beyond = len(self.connections) - self.door.max_connections
        self._crowded = self._last = beyond > 0
        if beyond > SPARE_CONNECTIONS:
            self._refuse(OverloadedError("too many connections"))
        self.door.watch(self.connections, self.loop)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._request is not None:
            self.door.app.count_disconnected(self._request)
            self._request = None
        self._release()
        super().connection_lost(exc)

    def eof_received(self) -> bool:  # type: ignore[override]
        """A caller that will send no more still gets what is being made for it."""
        if not self._answering() or self.scheme == "https":
            return False
        self._last = True
        return True

    # ---- what arrives ----

    def data_received(self, data: bytes) -> None:
        if not self._stalled and len(data) <= _SLICE:
            self._parse(data)
        elif self._over:
            self._drop(data)
        else:
            self._unread = memoryview(bytes(self._unread) + data)
            self._catch_up()

    def _drop(self, data: bytes) -> None:
        """Read on after the last answer, to the end of the request or a bound."""
        self._dropped += len(data)
        if self._dropped > _LINGER_BYTES:
            self.transport.close()
        elif self._state == _BODY:
            self._parse(data)

    def _catch_up(self) -> None:
        """Parse what was put aside as far as may be, and read no more before that is done."""
        while self._unread and not self._stalled:
            data, self._unread = self._unread[:_SLICE], self._unread[_SLICE:]
            self._parse(data)
        if self._over:
            return
        if self._stalled:
            self.flow.pause_reading()
        else:
            self._unread = b""
            self.flow.resume_reading()

    def _parse(self, data: bytes | memoryview) -> None:
        self._now = perf_counter()
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:  # what follows is another protocol's
            self._end()
        except httptools.HttpParserCallbackError as error:
            if not self._over:
                log_defect(error.__context__ or error)
                self._end()
        except httptools.HttpParserError:
            if not self._over:
                self._state = _IDLE
                self._refuse(RequestError("this is no HTTP request that this server understands"))
        if self._state != _IDLE and not self._over:
            self._count(len(data))

    def _count(self, size: int) -> None:
        """Bound what a request may hold of this connection's, and of the server's, memory before it is complete."""
        limits = self.door.limits
        self._taken += size
        self.door.held_bytes += size
        if self._state == _HEAD and self._taken > limits.head_limit_bytes:
            self._refuse(HeadTooLongError("the headers are too long") if self._fields else TargetTooLongError())
        elif self._taken > _OVERHEAD * limits.body_limit_bytes + limits.head_limit_bytes:
            self._refuse(BodyTooLongError(limits.body_limit_bytes))
        elif self.door.held_bytes > self.door.held_limit_bytes:
            self._refuse(OverloadedError("too many bodies are being sent at once"))

    def _release(self) -> None:
        self.door.held_bytes -= self._taken
        self._taken = 0

    # ---- the parser's callbacks ----

    def on_message_begin(self) -> None:
        self.url = b""
        self._state = _HEAD
        self.deadline = self._now + self.door.limits.head_timeout_s

    def on_header(self, name: bytes, value: bytes) -> None:
        self._fields[name.lower()] = value

    def on_headers_complete(self) -> None:
        limits = self.door.limits
        fields, self._fields = self._fields, {}  # what comes after the body must not be taken for the head
        self._state = _BODY
        self.deadline = self._now + limits.body_timeout_s
        self._size = 0
        self._keep = self._keeps_alive(fields)
        method = self.parser.get_method().decode()
        path = _path(self.url) if len(self.url) <= limits.target_limit_bytes else ""
        if path in BENTOML_PATHS and method in READS and self.door.app.admits(path, fields):
            self._hand_on(fields)
        else:
            self._begin(Request(method, path, fields, self._now))
            if self._over and self._state != _BODY:
                raise _Over

    def on_body(self, body: bytes) -> None:
        if self._handed_on:
            super().on_body(body)
            return
        self._size += len(body)
        if self._size > self.door.limits.body_limit_bytes and not self._over:
            self._refuse(BodyTooLongError(self.door.limits.body_limit_bytes))
        if self._request is not None:
            self._body = body if not self._body else _grown(self._body, body)

    def on_message_complete(self) -> None:
        self._state = _IDLE
        self.deadline = self._now + self.timeout_keep_alive
        if self._taken:
            self._release()
        if self._over:
            self.transport.close()
            raise _Over
        request = self._request
        if request is not None:
            request.body, self._request, self._body = bytes(self._body), None, b""
            self._reply(self.door.app.finish(request), request)
            if self._over:
                raise _Over
        elif self._handed_on:
            self._handed_on = False
            super().on_message_complete()
            self._stalled = self._answering()
            if self._stalled:
                self.flow.pause_reading()
                self.deadline = math.inf

    # ---- who answers ----

    def _begin(self, request: Request) -> None:
        """Answer by the head, or let the body come. Whoever waits for our word before sending it has it then, or must go."""
        fields = request.headers
        waits = fields.get(b"expect", b"").lower() == b"100-continue"
        early = self._early_refusal(request) or self.door.app.begin(request)
        if early is None:
            self._request = request
            if waits:
                self._put(_CONTINUE)
            return
        if not _has_body(fields):
            self._state = _IDLE
        early.close |= waits
        self._reply(early, request)

    def _early_refusal(self, request: Request) -> Response | None:
        limits = self.door.limits
        if not request.path:
            return self.door.app.refuse(request, TargetTooLongError())
        if len(request.headers) > limits.head_limit_count:
            return self.door.app.refuse(request, HeadTooLongError("there are too many headers"))
        if self.parser.should_upgrade() and _has_body(request.headers):
            return self.door.app.refuse(request, UnsupportedUpgradeError())
        if self._crowded and request.method not in READS:
            return self.door.app.refuse(request, OverloadedError("too many connections"))
        return None

    def _hand_on(self, fields: Headers) -> None:
        """Let uvicorn and BentoML answer the request."""
        url = self.url
        super().on_message_begin()
        self.url = url
        for name, value in fields.items():
            super().on_header(name, value)
        super().on_headers_complete()
        self._handed_on = True
        if self._last:
            self.cycle.keep_alive = False

    def _answering(self) -> bool:
        """Whether a page of BentoML's is being made."""
        return self.cycle is not None and not self.cycle.response_complete

    def _refuse(self, error: RequestError) -> None:
        """Answer what is being read with an error, and read no further; nobody gets a second answer."""
        if self._state == _BODY and self._request is None:
            self._end()
            return
        request = self._request or Request("", "", {}, self._now)
        self._request, self._last = None, True
        self._reply(self.door.app.refuse(request, error), request)

    def _reply(self, response: Response, request: Request) -> None:
        """Write a response in its turn; end the connection if it is the last."""
        keep = self._keep and not (self._last or response.close)
        head = self.door.head(response, keep, self.server_state.default_headers)
        body = b"" if request.method == "HEAD" else response.body
        self.server_state.total_requests += 1
        self._put(b"%b%d\r\n\r\n%b" % (head, len(response.body), body), keep)

    def _put(self, data: bytes, keep: bool = True) -> None:
        if self._answering():
            self.pipeline.appendleft((data, keep))  # type: ignore[arg-type]  # among uvicorn's own, in their order
            self._over = not keep
            return
        self.transport.write(data)
        if not keep:
            self._end()

    def on_response_complete(self) -> None:
        """A page of BentoML's is out: what waited behind it is next."""
        self.server_state.total_requests += 1
        while self.pipeline and not self.transport.is_closing():
            waiting: tuple[Any, Any] = self.pipeline.pop()
            first, second = waiting
            if not isinstance(first, bytes):
                self._start_asgi_task(first, second)
                return
            self.transport.write(first)
            if not second:
                self._end()
                return
        if self._last:
            self._end()
        self.deadline = perf_counter() + (self.door.limits.head_timeout_s if self._state else self.timeout_keep_alive)
        self._resume_soon()

    # ---- waiting, and the end ----

    def pause_writing(self) -> None:
        """The caller does not read its answers: it gets no more of them until it does."""
        super().pause_writing()
        self._stalled = True
        self.flow.pause_reading()
        self.deadline = perf_counter() + self.door.limits.body_timeout_s

    def resume_writing(self) -> None:
        super().resume_writing()
        self.deadline = perf_counter() + self.timeout_keep_alive
        self._resume_soon()

    def _resume_soon(self) -> None:
        """In a call of its own, since the parser may be at work in this one."""
        self.loop.call_soon(self._resume)

    def _resume(self) -> None:
        if not (self.parser is None or self._over or self.flow.write_paused or self._answering()):
            self._stalled = False
            self._catch_up()

    def expire(self, now: float) -> None:
        """The deadline has passed."""
        self.deadline = now + _LINGER_S
        if self._over or self.flow.write_paused or self.transport.is_closing():
            self.transport.abort()
        elif self._answering():
            pass  # BentoML has a time limit of its own
        elif self._state == _HEAD:
            self._refuse(HeadTimeoutError(self.door.limits.head_timeout_s))
        elif self._state == _BODY:
            self._refuse(BodyTimeoutError(self.door.limits.body_timeout_s))
        else:
            self._end()

    def shutdown(self) -> None:
        """The server stops: what has begun to arrive is still answered, and is the last."""
        self._last = True
        if self._answering():
            self.cycle.keep_alive = bool(self.pipeline)
        elif self._state == _IDLE and not self._unread:
            self._end()

    def _end(self) -> None:
        """No further answer. While the caller still sends, closing would reset the connection before it reads the last one."""
        self._over = self._stalled = True
        self._unread = b""
        self._release()
        self.deadline = perf_counter() + _LINGER_S
        if self._state == _IDLE:
            self.transport.close()
        else:
            self.flow.resume_reading()

    def _keeps_alive(self, fields: Headers) -> bool:
        """HTTP/1.0 does not keep alive here, nor does a connection that another protocol was asked for on."""
        if not self.parser.should_keep_alive() or self.parser.should_upgrade():
            return False
        return b"connection" not in fields or self.parser.get_http_version() != "1.0"


def _has_body(fields: Headers) -> bool:
    return fields.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in fields


def _grown(body: bytes | bytearray, more: bytes) -> bytearray:
    grown = body if isinstance(body, bytearray) else bytearray(body)
    grown += more
    return grown


@lru_cache(maxsize=64)
def _path(target: bytes) -> str:
    """The decoded path of a request's target; what is no path leads nowhere."""
    try:
        return unquote(httptools.parse_url(target).path.decode("ascii")) or "?"
    except (httptools.HttpParserInvalidURLError, AttributeError, UnicodeDecodeError):
        return "?"
