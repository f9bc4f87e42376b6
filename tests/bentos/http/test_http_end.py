"""How an HTTP connection ends: when the server stops, and when a caller is refused that still sends; no caller loses an answer."""

from __future__ import annotations

import signal
import socket
import time
import weakref
from contextlib import ExitStack
from pathlib import Path

import pytest

from bentos.core import Core
from bentos.protocols.http.http1 import connection as connection_module
from bentos.protocols.http.http1.ration import BODY, HEAD
from drills.callers.good import Answers
from drills.stops import stop_under_load
from harness.waiting import until
from tests.bentos.conftest import Case
from tests.bentos.http.http_server import (
    FrontDoor,
    front_door,
    get,
    limited,
    one_response,
    predictions,
    request,
    responses,
    rest,
)
from tests.bentos.running import start_server

# ---- the server stops ----


def test_requests_that_have_begun_are_answered_when_the_server_stops(core: Core, case: Case, body: bytes) -> None:
    whole = request("/predict", body)
    with front_door(core) as door, ExitStack() as open_:
        idle, headless, bodiless, waiting = (open_.enter_context(door.connect()) for _ in range(4))
        idle.sendall(whole)
        assert one_response(idle)[0] == 200
        headless.sendall(whole[:20])
        bodiless.sendall(whole[:-5])
        waiting.sendall(get("/static_content/swagger-ui-bundle.js"))
        assert waiting.recv(1, socket.MSG_PEEK)
        until(lambda: door.look(lambda: {HEAD, BODY} <= {each.ration.phase for each in door.door.connections}))
        door.begin_to_stop()
        until(lambda: door.look(lambda: door.door._stopping))
        headless.sendall(whole[20:])
        bodiless.sendall(whole[-5:])
        for connection in (headless, bodiless):
            ((status, headers, content),) = responses(rest(connection))
            assert (status, headers["connection"]) == (200, "close")
            assert predictions(content) == case.answers[:1]
        ((status, _, content),) = responses(rest(waiting))  # its answer had begun
        assert status == 200 and len(content) > 1_000_000


def test_connection_is_freed_at_its_end_without_the_collector(core: Core, body: bytes, no_collector: None) -> None:
    with front_door(core) as door:
        with door.connect() as connection:
            connection.sendall(request("/predict", body) + request("/predict", body)[:-5])
            assert one_response(connection)[0] == 200
            parts = door.look(
                lambda: [weakref.ref(part) for each in door.door.connections for part in (each, each.requests)]
            )
        until(lambda: door.look(lambda: not any(part() for part in parts)))


def test_idle_connection_is_answered_once_more_when_the_server_stops(core: Core, case: Case, body: bytes) -> None:
    with front_door(core) as door, ExitStack() as open_:
        asking, silent, late = (open_.enter_context(door.connect()) for _ in range(3))
        for connection in (asking, silent):
            connection.sendall(request("/predict", body))
            assert one_response(connection)[0] == 200
        until(lambda: len(door.door.connections) == 3)
        door.begin_to_stop()
        until(lambda: door.look(lambda: door.door._stopping))
        new = open_.enter_context(door.connect())
        for connection in (asking, late, new):
            connection.sendall(request("/predict", body))
            ((status, headers, content),) = responses(rest(connection))
            assert (status, headers["connection"], predictions(content)) == (200, "close", case.answers[:1])
        assert rest(silent) == b""


def test_no_request_is_lost_when_a_server_with_busy_connections_stops(case: Case, bundle: Path, tmp_path: Path) -> None:
    server = start_server(bundle, tmp_path)
    port, answers = int(server.http.rpartition(":")[2]), Answers(case.bundle, rows=1)
    answered, lost = stop_under_load(port, answers, lambda: server.process.send_signal(signal.SIGTERM))
    assert server.process.wait(20) == 0
    assert (answered > 16, lost) == (True, 0)


# ---- a caller is refused that still sends ----


def too_long(door: FrontDoor, size: int, *extra: str) -> bytes:
    head = request("/predict", b"", *extra)
    return head.replace(b"Content-Length: 0", b"Content-Length: %d" % size)


@pytest.mark.parametrize("megabytes", [3, 40])
def test_refusal_is_read_when_the_whole_of_a_body_beyond_the_limit_is_sent_first(
    core: Core, monkeypatch: pytest.MonkeyPatch, megabytes: int
) -> None:
    with front_door(core) as door, door.connect() as connection:
        size = megabytes << 20
        assert size > core.limits.body_limit_bytes
        connection.sendall(too_long(door, size))
        for _ in range(megabytes):  # as nginx does: it looks for an answer after that
            connection.sendall(b" " * (1 << 20))
        ((status, headers, _),) = responses(rest(connection))
        assert (status, headers["connection"]) == (413, "close")


@pytest.mark.parametrize("broken", [b"zz\r\n", b"1\r\n  \r\n"])
def test_refusal_is_read_when_a_body_is_broken_and_goes_on(core: Core, broken: bytes) -> None:
    with front_door(core) as door, door.connect() as connection:
        head = request("/predict").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
        connection.sendall(head + broken)
        for _ in range(20):
            connection.sendall(b" " * (1 << 20))
        assert [status for status, _, _ in responses(rest(connection))] == [400]


def test_broken_body_of_a_refused_request_gets_no_second_answer(core: Core) -> None:
    with front_door(core) as door:
        asked = request("/nowhere").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked") + b"zz\r\n"
        assert [status for status, _, _ in responses(door.ask(asked))] == [404]


def test_refused_caller_sees_the_end_at_once_and_is_not_read_for_ever(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited(core, monkeypatch, body_timeout_s=1.5)
    with front_door(core) as door, door.connect() as kept, door.connect() as silent, door.connect() as endless:
        for connection, linger_s in ((kept, 60), (silent, 0.5), (endless, 0.5)):
            monkeypatch.setattr(connection_module, "_LINGER_S", linger_s)
            connection.sendall(too_long(door, 10**9))
            assert one_response(connection)[0] == 413
            assert connection.recv(1) == b""  # our half is closed
        started = time.monotonic()
        with pytest.raises(ConnectionError):
            while time.monotonic() < started + 30:
                endless.sendall(b" " * 1000)
                time.sleep(0.01)
        until(lambda: len(door.door.connections) == 1)


def test_refused_caller_is_cut_off_when_it_sends_more_than_is_dropped(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "_LINGER_BYTES", 1 << 20)
    with front_door(core) as door, door.connect() as connection:
        connection.sendall(too_long(door, 10**9))
        assert one_response(connection)[0] == 413
        with pytest.raises(ConnectionError):
            for _ in range(1000):
                connection.sendall(b" " * (1 << 20))
