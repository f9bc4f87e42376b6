"""The drill of a stop: SIGTERM to a bare `bentoml serve` with busy keep-alive connections, repeatedly; none loses a request."""

from __future__ import annotations

import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import closing
from functools import partial
from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from drills.callers.good import Answers
from drills.results import Result
from harness import servers
from harness.bundles import Bundle

_CONNECTIONS = 16
_TIMES = 20
_EACH_FIRST = 5  # answers before the stop
_PATIENCE_S = 20.0
_IDLE_S = (
    0.8  # after which a server that stops may close a connection (`bentos.protocols.http.http1.connection.STOPPING_S`)
)


def stops(bundle: Bundle) -> list[Result]:
    """Run the drill: stop a server under load, repeatedly."""
    answers, asked, lost = Answers(bundle.path, rows=1), 0, 0
    with tempfile.TemporaryDirectory() as scratch:
        for _ in range(_TIMES):
            with servers.ours(bundle, Path(scratch)) as server:
                stop = partial(os.kill, server.pid, signal.SIGTERM)
                answered, failed = stop_under_load(server.port, answers, stop)
            asked, lost = asked + answered + failed, lost + failed
    invariant = "each request has its answer, the last of a connection with Connection: close"
    injected = f"SIGTERM, {_TIMES} times, under {_CONNECTIONS} busy connections"
    return [Result(42, "stop", injected, asked, lost, invariant, not lost)]


def stop_under_load(port: int, answers: Answers, stop: Callable[[], object]) -> tuple[int, int]:
    """Keep connections busy, call `stop`, and go on until each connection ends; return the numbers of answered and lost requests."""
    callers = [_Caller(port, answers) for _ in range(_CONNECTIONS)]
    for caller in callers:
        caller.start()
    deadline = time.monotonic() + _PATIENCE_S
    while min(caller.answered for caller in callers) < _EACH_FIRST and time.monotonic() < deadline:
        time.sleep(0.005)
    stop()
    for caller in callers:
        caller.join(_PATIENCE_S)
    return sum(caller.answered for caller in callers), sum(caller.lost for caller in callers)


class _Caller(threading.Thread):
    """One connection, with one request after another."""

    def __init__(self, port: int, answers: Answers) -> None:
        super().__init__(daemon=True)
        self._port, self._answers = port, answers
        self._request = answers.requests[0]
        self.answered = self.lost = 0

    def run(self) -> None:
        body = self._request.partition(b"\r\n\r\n")[2]
        with closing(HTTPConnection("127.0.0.1", self._port, timeout=_PATIENCE_S)) as connection:
            idle_since = time.monotonic()
            while not self.lost:
                asked_at = time.monotonic()
                try:
                    connection.request("POST", "/predict", body, {"content-type": "application/json"})
                    response = connection.getresponse()
                    content = response.read()
                except (OSError, HTTPException):
                    # A caller that was idle for so long must reckon with the end of its connection (RFC 9112, section 9.5).
                    self.lost += asked_at - idle_since < _IDLE_S
                    return
                idle_since = time.monotonic()
                right = response.status == 200 and self._answers.is_right(self._request, content)
                self.answered += right
                is_refused = response.status == HTTPStatus.SERVICE_UNAVAILABLE  # a crowded machine has no time for it
                self.lost += not (right or is_refused)
                if response.getheader("connection") == "close":
                    return
