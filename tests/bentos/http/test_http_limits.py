"""The HTTP front door over real sockets: what would cost too much, or take too long, is refused or ends."""

from __future__ import annotations

import json
import resource
import select
import threading
from contextlib import ExitStack
from typing import Any

import pytest

from bentos.core import Core
from bentos.protocols.connections import listener
from bentos.protocols.connections.gate import SPARE_CONNECTIONS
from bentos.protocols.http.http1.ration import BODY
from harness.waiting import until
from tests.bentos.http.http_server import (
    CLOSE,
    FrontDoor,
    front_door,
    get,
    limited,
    one_response,
    request,
    responses,
    rest,
)

# ---- what would cost too much ----


def refusal(door: FrontDoor, asked: bytes) -> tuple[int, str, str]:
    """The answer, taken without waiting for the end of the connection, since that lingers."""
    with door.connect() as connection:
        connection.sendall(asked)
        status, headers, content = one_response(connection)
    return status, headers["connection"], json.loads(content)["error"]["code"]


def test_head_is_refused_when_it_is_too_long(door: FrontDoor, core: Core) -> None:
    limits = core.limits
    long = "x" * 2 * limits.head_limit_bytes
    assert refusal(door, get("/v2", f"X: {long}")) == (431, "close", "headers_too_large")
    assert refusal(door, get("/v2", *[f"X{n}: {long[:1000]}" for n in range(40)])) == (
        431,
        "close",
        "headers_too_large",
    )
    many = get("/nowhere", CLOSE, *[f"X{n}: 1" for n in range(limits.head_limit_count)])
    assert refusal(door, many) == (431, "close", "headers_too_large")


def test_target_is_refused_when_it_is_too_long(door: FrontDoor, core: Core) -> None:
    long = "/" + "x" * core.limits.target_limit_bytes
    assert refusal(door, get(long, CLOSE)) == (414, "close", "target_too_long")
    assert refusal(door, get(long * 10)) == (414, "close", "target_too_long")


def test_body_is_refused_while_it_comes_when_it_grows_too_long(door: FrontDoor, core: Core) -> None:
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    with door.connect() as connection:
        connection.sendall(head)
        for _ in range(core.limits.body_limit_bytes // 65536 + 1):
            connection.sendall(chunk)
        assert one_response(connection)[0] == 413
    declared = request("/predict", b"", CLOSE).replace(b"Length: 0", b"Length: 99999999")
    assert refusal(door, declared + b" " * 100_000) == (413, "close", "too_large")


@pytest.mark.parametrize("framing", [b"2\r\n{}\r\n0\r\nX: " + b"x" * 200_000, b"1\r\n \r\n" * 40_000])
def test_body_is_refused_when_what_frames_it_grows_too_long(door: FrontDoor, framing: bytes) -> None:
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert refusal(door, head + framing) == (413, "close", "too_large")


def test_nothing_is_kept_of_a_trailer_or_of_a_refused_body(door: FrontDoor, core: Core) -> None:
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    with door.connect() as connection:
        asked = head + b"2\r\n{}\r\n0\r\n" + b"".join(b"x%d: 1\r\n" % n for n in range(1000))
        connection.sendall(asked)
        until(lambda: door.look(lambda: any(each.ration.taken == len(asked) for each in door.door.connections)))
        (waiting,) = door.look(lambda: [each for each in door.door.connections if each.ration.taken == len(asked)])
        assert (waiting.ration.phase, waiting.requests._fields) == (BODY, {})
    with door.connect() as connection:
        connection.sendall(head + b"%x\r\n" % (2 * core.limits.body_limit_bytes) + b" " * core.limits.body_limit_bytes)
        connection.sendall(b" " * 1000)
        assert one_response(connection)[0] == 413
        (lingering,) = door.look(lambda: [each for each in door.door.connections if each.outbox.over])
        assert (lingering.requests._body, lingering._unread) == (b"", b"")


def test_bodies_are_refused_when_all_together_hold_too_much(
    door: FrontDoor, core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited(core, monkeypatch, pending_limit_bytes=64 * 1024)
    held = [door.connect() for _ in range(80)]
    for connection in held:
        connection.sendall(request("/predict", b" " * 1000)[:-1])
    for _ in range(2):  # those who come later are answered when all of these have been read, and refused
        assert responses(door.ask(get("/livez", CLOSE)))[0][0] == 200
    refused = [connection for connection in held if select.select([connection], [], [], 0)[0]]
    assert 0 < len(refused) < 40
    assert {one_response(connection)[0] for connection in refused} == {503}
    for connection in held:
        connection.close()
    until(lambda: door.door.held_bytes == 0)
    assert responses(door.ask(request("/predict", b"{}", CLOSE)))[0][0] == 400


def test_caller_that_does_not_read_its_answers_gets_no_more(door: FrontDoor, core: Core) -> None:
    asked = get("/docs.json") * 5000
    with door.connect() as connection:
        connection.sendall(asked)
        until(lambda: len(door.door.connections) == 1)
        (waiting,) = door.door.connections
        until(lambda: waiting._stalled)
        assert waiting.transport.get_write_buffer_size() < 8 * 2**20
        threading.Thread(target=connection.sendall, args=[get("/nowhere", CLOSE)]).start()
        received = responses(rest(connection))
    assert [status for status, _, _ in received] == [200] * 5000 + [404]


# ---- what would take too long ----


def test_connection_ends_when_its_head_its_body_or_anything_does_not_come(
    core: Core, monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    limited(core, monkeypatch, head_timeout_s=2, body_timeout_s=2)
    beginnings = (b"", b"GET /v2 HTTP/1.1\r\nHost:", request("/predict", body)[:-1], request("/predict", body))
    with front_door(core, keep_alive_s=2) as door, ExitStack() as open_:
        crowd = [open_.enter_context(door.connect()) for _ in beginnings]
        for connection, beginning in zip(crowd, beginnings, strict=True):
            connection.sendall(beginning)
        silent, headless, bodiless, idle = crowd
        assert one_response(idle)[0] == 200
        assert (rest(silent), rest(idle)) == (b"", b"")
        for connection, code in ((headless, "head_timeout"), (bodiless, "body_timeout")):
            status, headers, content = one_response(connection)
            assert (status, headers["connection"], json.loads(content)["error"]["code"]) == (408, "close", code)


def test_connection_ends_when_its_caller_never_reads(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    limited(core, monkeypatch, body_timeout_s=0.3, head_timeout_s=60)
    with front_door(core, keep_alive_s=60) as door, door.connect() as connection:
        connection.settimeout(30)
        with pytest.raises(ConnectionError):  # reset, while it still sends
            while True:
                connection.sendall(get("/docs.json") * 1000)


def test_predictions_are_refused_and_health_is_answered_when_there_are_too_many_connections(
    core: Core, monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    limited(core, monkeypatch, max_connections=20)
    with front_door(core) as door:
        held = [door.connect() for _ in range(20)]
        until(lambda: len(door.door.connections) == 20)
        ((status, headers, content),) = responses(door.ask(request("/predict", body)))
        assert (status, headers["retry-after"], headers["connection"]) == (503, "1", "close")
        assert json.loads(content)["error"]["code"] == "overloaded"
        for path, expected in (("/livez", 200), ("/v2/health/ready", 200)):
            assert responses(door.ask(get(path)))[0][0] == expected
        more = [door.connect() for _ in range(SPARE_CONNECTIONS)]
        assert responses(door.ask())[0][0] == 503
        held[0].sendall(request("/predict", body))
        assert one_response(held[0])[0] == 200
        for connection in held + more:
            connection.close()


def test_connections_that_wait_are_accepted_together_after_a_long_round_but_no_more_than_a_second_s_worth(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "_ACCEPTED_PER_S", 50)
    monkeypatch.setattr(listener, "perf_counter", lambda: 5.0)
    with front_door(core) as door, ExitStack() as open_:

        def accepted(count: int) -> int:
            """Connect so many callers during a round; return how many connections were accepted after it."""
            for _ in range(count):
                open_.enter_context(door.connect())
            taken: set[Any] = door.server._listener._taken
            before = len(taken)
            for call in core.admission.after_long_round:
                call()
            return len(taken) - before

        assert door.look(lambda: [accepted(30), accepted(30), accepted(30)]) == [30, 20, 0]
        until(lambda: len(door.door.connections) == 90)


def test_bound_on_connections_leaves_descriptors_for_everything_else(
    core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited(core, monkeypatch, max_connections=10**9)
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    with front_door(core) as door:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        assert soft == hard
        assert door.door.max_connections < soft - 200
    resource.setrlimit(resource.RLIMIT_NOFILE, before)
