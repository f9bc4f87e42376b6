"""What is asked on an HTTP connection: it is answered within the parser's callbacks, by one write.

No task, coroutine or event is made for a request, and answers keep the order of the requests.
"""

from __future__ import annotations

import re
from functools import lru_cache
from time import perf_counter
from urllib.parse import unquote

import httptools

from bentos.errors import (
    BodyTooLongError,
    HeadTooLongError,
    OverloadedError,
    TargetTooLongError,
)
from bentos.monitoring.tracing import REQUEST_ID
from bentos.protocols.http.connection import BODY, CHUNK, HEAD, IDLE, SLICE, Connection
from bentos.protocols.http.door import Door
from bentos.protocols.http.exchange import SAFE, Headers, Request, Response
from bentos.protocols.http.rules import fault, is_sound, without_upgrade
from contract.errors import RequestError
from contract.prediction_log.records import ID_LIMIT_BYTES

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


# A whole prediction as clients send it, up to its body. Line by line, without a way back: that takes no longer than the head is.
_LINES = rb"(?:(?!content-length|transfer-encoding|expect|upgrade|origin|connection(?!: ?keep-alive\r))[^\r\n]+\r\n)*"
_PLAIN = re.compile(
    rb"POST (?:/predict|(/v2/)models/[^ \r\n]+/infer) HTTP/1\.1\r\n(?i:%bcontent-length: ?(\d{1,9})\r\n%b)\r\n"
    % (_LINES, _LINES)
)


class _Over(Exception):  # noqa: N818  # not an error: it ends the parsing where no further answer will be given
    pass


class HttpProtocol(Connection):
    """The requests of one connection, one after the other."""

    def __init__(self, door: Door) -> None:
        super().__init__(door)
        self._request: Request | None = None  # the one whose body is being read
        self._body: bytes | bytearray = b""
        self._keep = True  # whether the request allows for another one after it

    def connection_lost(self, exc: Exception | None) -> None:
        if self._request is not None:
            self.door.app.count_disconnected(self._request)
            self._request = None
        super().connection_lost(exc)

    @property
    def in_flight(self) -> int:
        """How many requests have begun to arrive whose bodies are awaited."""
        return int(self._request is not None)

    def _shed(self, data: bytes) -> bool:
        """A prediction that has come whole and alone, as clients give it; parsing it first would cost several times as much."""
        if self._state != IDLE or self._stalled or self._last:
            return False
        plain = _PLAIN.match(data, 0, self.door.limits.head_limit_bytes)
        if plain is None or plain.end() + int(plain[2]) != len(data) or not self.door.admission.refuses(int(plain[2])):
            return False
        self.deadline = perf_counter() + self.door.keep_alive_s
        self.transport.write(self.door.busy(oip=plain[1] is not None))
        return True

    # ---- the parser's callbacks ----

    def on_message_begin(self) -> None:
        self.url = b""
        self._state = HEAD
        self.deadline = self._now + self.door.limits.head_timeout_s

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._state == HEAD:  # or it is a trailer
            name, fields = name.lower(), self._fields
            value = value.rstrip()  # RFC 9112, section 5
            fields[name] = value if name not in fields else b"%b, %b" % (fields[name], value)  # RFC 9110, section 5.3

    def on_headers_complete(self) -> None:
        limits = self.door.limits
        fields, self._fields = self._fields, {}
        method = self.parser.get_method().decode()
        if self.parser.should_upgrade() and method != "CONNECT":
            version = self.parser.get_http_version()
            self._again = without_upgrade(method.encode(), self.url, version, fields)
            return
        self._state = BODY
        self.deadline = self._now + limits.body_timeout_s
        self._size = 0
        self._keep = self._keeps_alive(fields)
        path = _path(self.url) if len(self.url) <= limits.target_limit_bytes else ""
        self._begin(Request(method, path, fields, self._now))
        if self._over and self._state != BODY:
            raise _Over

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        if self._size > self.door.limits.body_limit_bytes and not self._over:
            self._refuse(BodyTooLongError(self.door.limits.body_limit_bytes))
        if self._request is not None:
            self._body = body if not self._body else _grown(self._body, body)

    def on_message_complete(self) -> None:
        if self._again:  # by the parser's mistake: it takes the body for another protocol's
            return
        self._state = IDLE
        self.deadline = self._now + self.door.keep_alive_s
        if self._taken:
            self._release()
        if self._over:
            self._end()
            raise _Over
        request = self._request
        if request is not None:
            request.body, self._request, self._body = bytes(self._body), None, b""
            self._reply(self.door.app.finish(request), request)
            if self._over:
                raise _Over

    # ---- who answers ----

    def _begin(self, request: Request) -> None:
        """Answer by the head, or let the body come. Whoever waits for our word before sending it has it then, or must go."""
        fields = request.headers
        early = self._early_refusal(request) or self.door.app.begin(request)
        waits = fields.get(b"expect", b"").lower() == b"100-continue" and self.parser.get_http_version() != "1.0"
        if early is None:
            self._request = request
            if waits:
                self._put(_CONTINUE)
        else:
            if not _has_body(fields):
                self._state = IDLE
            early.close |= waits
            self._reply(early, request)

    def _early_refusal(self, request: Request) -> Response | None:
        fields = request.headers
        version, host, coding = self.parser.get_http_version(), fields.get(b"host"), fields.get(b"transfer-encoding")
        error = (
            None if is_sound(request.method, version, host, coding) else fault(request.method, version, host, coding)
        )
        limits = self.door.limits
        whole = self._taken + SLICE <= limits.head_limit_bytes  # then it has come with one slice, which is no longer
        if error is None and not (whole and request.path and len(fields) <= limits.head_limit_count):
            error = self._excess(request)
        if error is not None:
            refusal = self.door.app.refuse(request, error)
            refusal.close = True
            return refusal
        if self._crowded and request.method not in SAFE:
            return self.door.app.refuse(request, OverloadedError("too many connections"))
        return None

    def _excess(self, request: Request) -> RequestError | None:
        """What of the head is more than may be."""
        limits, fields = self.door.limits, request.headers
        if not request.path:
            return TargetTooLongError()
        if len(fields) > limits.head_limit_count:
            return HeadTooLongError("there are too many headers")
        lines = sum([len(name) + len(value) + 4 for name, value in fields.items()])
        if len(self.url) + lines > limits.head_limit_bytes:
            return HeadTooLongError("the headers are too long")
        return None

    def _refuse(self, error: RequestError) -> None:
        """Answer what is being read with an error, and read no further; nobody gets a second answer."""
        if self._state == BODY and self._request is None:
            self._end()
            return
        request = self._request or Request("", "", {}, self._now)
        self._request, self._body, self._last = None, b"", True
        self._reply(self.door.app.refuse(request, error), request)

    def _reply(self, response: Response, request: Request) -> None:
        """Write a response in its turn; end the connection if it is the last."""
        keep = self._keep and not (self._last or response.close)
        head = self.door.head(response, keep)
        body = b"" if request.method == "HEAD" else response.body
        name = request.headers.get(REQUEST_ID)
        named = b"\r\nx-request-id: %b" % name if name and len(name) <= ID_LIMIT_BYTES else b""
        if len(body) > CHUNK:  # as it is: it may be shared by all who ask for it
            self._put(b"%b%d%b\r\n\r\n" % (head, len(body), named))
            self._put(body, keep)
        else:
            self._put(b"%b%d%b\r\n\r\n%b" % (head, len(response.body), named, body), keep)

    def _keeps_alive(self, fields: Headers) -> bool:
        """HTTP/1.0 does not keep alive here."""
        if not self.parser.should_keep_alive():
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
