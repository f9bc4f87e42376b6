"""The requests of an HTTP connection, each answered by one write, within the parser's callbacks or by the end of the round.

A request makes no task, coroutine or event, and answers keep the order of the requests.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache, partial
from time import perf_counter
from typing import Any
from urllib.parse import unquote

import httptools

from bentos.errors import (
    BodyTooLongError,
    HeadTooLongError,
    OverloadedError,
    TargetTooLongError,
    log_defect,
)
from bentos.monitoring.tracing import REQUEST_ID
from bentos.protocols.http.exchange import SAFE, Headers, Request, Response
from bentos.protocols.http.http1.door import Door
from bentos.protocols.http.http1.outbox import CHUNK, Outbox
from bentos.protocols.http.http1.ration import BODY, HEAD, IDLE, Ration
from bentos.protocols.http.http1.rules import fault, is_sound, unparsed, without_upgrade
from bentos.rounds import Score, Unscored
from contract.errors import RequestError
from contract.prediction_log.records import ID_LIMIT_BYTES

# Bytes parsed at a time, which bound the answers to pipelined requests that pile up before their caller must read them.
SLICE = 4096
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

# The head of a prediction as clients send it. It matches line by line without backtracking, in time linear in the head.
_LINES = rb"(?:(?!content-length|transfer-encoding|expect|upgrade|origin|connection(?!: ?keep-alive\r))[^\r\n]+\r\n)*"
_PLAIN = re.compile(
    rb"POST (?:/predict|(/v2/)models/[^ \r\n]+/infer) HTTP/1\.1\r\n(?i:%bcontent-length: ?(\d{1,9})\r\n%b)\r\n"
    % (_LINES, _LINES)
)


class _Over(Exception):  # noqa: N818  # not an error: it ends the parsing when no further answer will follow
    pass


class Requests:
    """The requests of one connection, one after the other.

    Args:
        answered: called after each answer that waited for others.

    Attributes:
        crowded: the connection is above the bound, so it gets health and metrics only.
        waits: the last request waits to be scored with others; `flush` answers it before anything else happens.
    """

    def __init__(self, door: Door, ration: Ration, outbox: Outbox, answered: Callable[[], None]) -> None:
        self.crowded = self.waits = False
        self._rounds = door.core.rounds
        self._answered: Callable[[], None] | None = answered
        self._door = door
        self._limits = door.limits
        self._ration = ration
        self._outbox = outbox
        self._parser: Any = _parser(self)
        self._now = 0.0  # when the parsed bytes were read
        self._again = b""  # the head of a request, to be parsed once more
        self._target = b""
        self._fields: Headers = {}  # of the head that is being read
        self._request: Request | None = None  # the one whose body is being read
        self._body: bytes | bytearray = b""
        self._keep = True  # whether another request may follow this one

    @property
    def in_flight(self) -> int:
        """The number of requests whose bodies are awaited."""
        return int(self._request is not None)

    @property
    def awaited(self) -> int:
        """The number of bytes that may be parsed at once: a slice, or all that are certainly of the body that is being read."""
        if self._request is None:
            return SLICE
        declared = int(self._request.headers.get(b"content-length", b"0"))
        return max(SLICE, declared - self._ration.body_bytes)

    def read(self, data: bytes | memoryview, now: float) -> None:
        """Parse bytes, and answer the requests that are complete.

        Args:
            now: the time at which they came, by `perf_counter`.
        """
        self._now = now
        ration, outbox = self._ration, self._outbox
        try:
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as stopped:
                self._read_again(data[stopped.args[0] :])
        except httptools.HttpParserCallbackError as error:
            if not outbox.over:
                log_defect(error.__context__ or error)
                outbox.over = True
        except httptools.HttpParserError:
            if not outbox.over:
                refused = unparsed(data if ration.phase == HEAD and not self._fields else b"")
                # Not IDLE, so that the connection lingers: the caller may still send.
                ration.phase = ration.phase or HEAD
                self.refuse(refused)
        if ration.phase != IDLE and not outbox.over:
            excess = ration.take(len(data), has_fields=bool(self._fields))
            if excess is not None:
                self.refuse(excess)

    def shed(self, data: bytes) -> bool:
        """Reject a prediction unparsed if admission control would; return whether it was rejected.

        It must be one whole request, as clients send it. Parsing it first would cost several times as much.
        """
        if self._ration.phase != IDLE or self._outbox.last:
            return False
        plain = _PLAIN.match(data, 0, self._limits.head_limit_bytes)
        if plain is None or plain.end() + int(plain[2]) != len(data) or not self._door.admission.refuses(int(plain[2])):
            return False
        self._ration.rest(perf_counter())
        self._outbox.put(self._door.busy(oip=plain[1] is not None))
        return True

    def refuse(self, error: RequestError) -> None:
        """Answer the current request with an error as the last answer; if it has been answered, only end the connection."""
        self.flush()
        if self._ration.phase == BODY and self._request is None:
            self._outbox.over = True
            return
        request = self._request or Request("", "", {}, self._now)
        self._request, self._body, self._outbox.last = None, b"", True
        self._reply(self._door.app.refuse(request, error), request)

    def flush(self) -> None:
        """Answer the request that waits, if one does."""
        if self.waits:
            self._rounds.flush()

    def drop(self) -> None:
        """Count a request whose caller disconnected before its body was complete."""
        if self._request is not None:
            self._door.app.count_disconnected(self._request)
            self._request = None
        self._parser = self._answered = None  # breaks reference cycles, which only the garbage collector could find

    def _read_again(self, rest: bytes | memoryview) -> None:
        """Parse a head once more, without its upgrade, and the bytes after it: the parser stops at an upgrade."""
        while self._again:
            data, self._again = self._again + bytes(rest), b""
            self._parser = _parser(self)
            try:
                self._parser.feed_data(data)
            except httptools.HttpParserUpgrade as stopped:
                rest = data[stopped.args[0] :]
            else:
                return
        self._outbox.over = True  # after CONNECT, which was rejected

    # ---- the parser's callbacks ----

    def on_message_begin(self) -> None:
        if self.waits:
            self.flush()
        self._target = b""
        self._ration.begin_head(self._now)

    def on_url(self, url: bytes) -> None:
        self._target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._ration.phase == HEAD:  # or it is a trailer
            name, fields = name.lower(), self._fields
            value = value.rstrip()  # RFC 9112, section 5
            fields[name] = value if name not in fields else b"%b, %b" % (fields[name], value)  # RFC 9110, section 5.3

    def on_headers_complete(self) -> None:
        fields, self._fields = self._fields, {}
        method = self._parser.get_method().decode()
        if self._parser.should_upgrade() and method != "CONNECT":
            version = self._parser.get_http_version()
            self._again = without_upgrade(method.encode(), self._target, version, fields)
            return
        self._ration.begin_body(self._now)
        self._keep = self._keeps_alive(fields)
        path = _path(self._target) if len(self._target) <= self._limits.target_limit_bytes else ""
        self._begin(Request(method, path, fields, self._now))
        if self._outbox.over and self._ration.phase != BODY:
            raise _Over

    def on_body(self, body: bytes) -> None:
        ration, limit = self._ration, self._limits.body_limit_bytes
        ration.body_bytes += len(body)
        if ration.body_bytes > limit and not self._outbox.over:
            self.refuse(BodyTooLongError(limit))
        if self._request is not None:
            self._body = body if not self._body else _grown(self._body, body)

    def on_message_complete(self) -> None:
        if self._again:  # the parser takes the body for another protocol's, and calls this too early
            return
        self._ration.rest(self._now)
        if self._outbox.over:
            raise _Over  # ends `feed_data`, so that pipelined requests after the last answer are not even parsed
        request = self._request
        if request is not None:
            request.body, self._request, self._body = bytes(self._body), None, b""
            answer = self._door.app.predict(request)
            if isinstance(answer, Response):
                self._reply(answer, request)
                self._rounds.flush()
            else:
                self.waits = True
                request.body = b""  # its columns are what is needed of it
                self._rounds.add(answer.columns, partial(self._score, request, answer))
                if not self._keep or self._outbox.last:
                    self.flush()
            if self._outbox.over:
                raise _Over

    def _score(self, request: Request, rows: Unscored[Response], score: Score) -> None:
        self.waits = False
        response = self._door.app.score(request, rows, score)
        if self._answered is not None:  # else the caller has disconnected
            self._reply(response, request)
            self._answered()

    # ---- who answers ----

    def _begin(self, request: Request) -> None:
        """Answer by the head, or await the body; a caller that expects 100-continue gets it, or the final answer and a close."""
        fields = request.headers
        early = self._early_refusal(request) or self._door.app.begin(request)
        waits = b"expect" in fields and self._is_told_to_wait(fields)
        if early is None:
            self._request = request
            if waits:
                self._outbox.put(_CONTINUE)
        else:
            if not _has_body(fields):
                self._ration.phase = IDLE
            # After a final answer such a caller may send its body or not, so only a close is safe (RFC 9110, section 10.1.1).
            early.close |= waits
            self._reply(early, request)

    def _is_told_to_wait(self, fields: Headers) -> bool:
        """Return whether the caller sends the body only after 100 Continue (RFC 9110, section 10.1.1)."""
        return fields[b"expect"].lower() == b"100-continue" and self._parser.get_http_version() != "1.0"

    def _early_refusal(self, request: Request) -> Response | None:
        fields = request.headers
        version, host, coding = self._parser.get_http_version(), fields.get(b"host"), fields.get(b"transfer-encoding")
        error = (
            None if is_sound(request.method, version, host, coding) else fault(request.method, version, host, coding)
        )
        limits = self._limits
        # Earlier slices plus a full last one are within the limit, so the head is; its fields need not be summed.
        whole = self._ration.taken + SLICE <= limits.head_limit_bytes
        if error is None and not (whole and request.path and len(fields) <= limits.head_limit_count):
            error = self._excess(request)
        if error is not None:
            refusal = self._door.app.refuse(request, error)
            refusal.close = True
            return refusal
        if self.crowded and request.method not in SAFE:
            return self._door.app.refuse(request, OverloadedError("too many connections"))
        return None

    def _excess(self, request: Request) -> RequestError | None:
        """Return the error of a head that exceeds a limit, or None."""
        limits, fields = self._limits, request.headers
        if not request.path:
            return TargetTooLongError()
        if len(fields) > limits.head_limit_count:
            return HeadTooLongError(f"there are more than {limits.head_limit_count} headers")
        lines = sum([len(name) + len(value) + 4 for name, value in fields.items()])
        if len(self._target) + lines > limits.head_limit_bytes:
            return HeadTooLongError(f"the headers are longer than {limits.head_limit_bytes} bytes")
        return None

    def _reply(self, response: Response, request: Request) -> None:
        """Write a response after the earlier ones."""
        keep = self._keep and not (self._outbox.last or response.close)
        head = self._door.head(response, keep)
        body = b"" if request.method == "HEAD" else response.body
        name = request.headers.get(REQUEST_ID)
        named = b"\r\nx-request-id: %b" % name if name and len(name) <= ID_LIMIT_BYTES else b""
        if len(body) > CHUNK:  # uncopied: it may be a page that all answers share
            self._outbox.put(b"%b%d%b\r\n\r\n" % (head, len(body), named))
            self._outbox.put(body, keep)
        else:
            self._outbox.put(b"%b%d%b\r\n\r\n%b" % (head, len(response.body), named, body), keep)

    def _keeps_alive(self, fields: Headers) -> bool:
        """Return whether another request may follow; after one of HTTP/1.0 none may."""
        if not self._parser.should_keep_alive():
            return False
        return b"connection" not in fields or self._parser.get_http_version() != "1.0"


def _has_body(fields: Headers) -> bool:
    return fields.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in fields


def _grown(body: bytes | bytearray, more: bytes) -> bytearray:
    grown = body if isinstance(body, bytearray) else bytearray(body)
    grown += more
    return grown


@lru_cache(maxsize=64)
def _path(target: bytes) -> str:
    """Return the decoded path of a request's target; `?`, an unknown path, if it has none."""
    try:
        return unquote(httptools.parse_url(target).path.decode("ascii")) or "?"
    except (httptools.HttpParserInvalidURLError, AttributeError, UnicodeDecodeError):
        return "?"


def _parser(requests: Requests) -> Any:
    made = httptools.HttpRequestParser(requests)
    # Else a caller that sends "Connection: close" and more bytes gets an error in place of its answer. `rules` judges versions.
    made.set_dangerous_leniencies(lenient_data_after_close=True, lenient_version=True)
    return made
