"""The HTTP front door over real sockets: what HTTP allows is answered, in order; what goes on for too long or grows too large ends."""

from __future__ import annotations

import json
import socket
import threading
import time

import pytest

from bentos.core import Core
from bentos.protocols.http.http1.connection import HttpConnection
from bentos.protocols.http.http1.requests import SLICE, Requests
from harness.waiting import until
from tests.bentos.conftest import Case
from tests.bentos.http.http_server import (
    CLOSE,
    FrontDoor,
    get,
    one_response,
    predictions,
    request,
    responses,
    rest,
)


def test_rest_of_a_body_is_parsed_at_once_and_later_requests_by_slices(
    door: FrontDoor, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Written(list[bytes]):
        """A transport that keeps the answers."""

        write = list.append

        def get_extra_info(self, _: str) -> None: ...
        def pause_reading(self) -> None: ...
        def resume_reading(self) -> None: ...

    parsed: list[int] = []
    read = Requests.read

    def counted(self: Requests, data: bytes | memoryview, now: float) -> None:
        parsed.append(len(data))
        read(self, data, now)

    monkeypatch.setattr(Requests, "read", counted)
    long, short = request("/predict", body + b" " * 5 * SLICE), request("/predict", body)
    answers = Written()

    def exchange() -> None:
        connection = HttpConnection(door.door)
        connection.connection_made(answers)
        connection.data_received(long + short * (2 * SLICE // len(short)))
        connection.connection_lost(None)

    door.look(exchange)
    assert parsed[:2] == [SLICE, len(long) - SLICE]
    assert max(parsed[2:]) <= SLICE
    assert {status for status, _, _ in responses(b"".join(answers))} == {200}


def test_connection_stays_open_until_it_is_asked_to_close(door: FrontDoor, case: Case, body: bytes) -> None:
    with door.connect() as connection:
        for _ in range(3):
            connection.sendall(request("/predict", body))
            status, headers, content = one_response(connection)
            assert (status, headers["x-model-version"]) == (200, case.version)
            assert "connection" not in headers
            assert predictions(content) == case.answers[:1]
        connection.sendall(request("/predict", body, CLOSE))
        status, headers, _ = one_response(connection)
        assert (status, headers["connection"], rest(connection)) == (200, "close", b"")


@pytest.mark.parametrize("size", [1, 7, 100])
def test_request_is_answered_when_it_comes_in_pieces(door: FrontDoor, case: Case, body: bytes, size: int) -> None:
    whole = request("/predict", body, CLOSE)
    with door.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start in range(0, len(whole), size):
            connection.sendall(whole[start : start + size])
        ((status, _, content),) = responses(rest(connection))
    assert (status, predictions(content)) == (200, case.answers[:1])


@pytest.mark.parametrize("size", [1, 50, 4096])
def test_request_is_answered_when_its_body_is_chunked(door: FrontDoor, case: Case, size: int) -> None:
    rows, answers = (case.rows[:1], case.answers[:1]) if size == 1 else (case.rows * 4, case.answers * 4)
    body = json.dumps({"rows": rows}).encode()
    chunks = [body[start : start + size] for start in range(0, len(body), size)]
    coded = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n"
    whole = head + b"Connection: close\r\n\r\n" + coded + b"0\r\nContent-Type: text/plain\r\n\r\n"
    ((status, _, content),) = responses(door.ask(whole))
    assert (status, predictions(content)) == (200, answers)


def test_answers_keep_the_order_of_requests_that_come_together(door: FrontDoor, case: Case, body: bytes) -> None:
    asked = [request("/predict", body), get("/nowhere"), get("/v2/health/live"), request("/predict", b"{")] * 50
    received = responses(door.ask(b"".join(asked) + get("/nowhere", CLOSE)))
    assert [status for status, _, _ in received] == [200, 404, 200, 400] * 50 + [404]
    assert all(predictions(content) == case.answers[:1] for _, _, content in received[:200:4])


def test_answers_keep_their_order_when_a_long_page_is_among_them(door: FrontDoor, body: bytes) -> None:
    page = "/static_content/swagger-ui-bundle.js"
    with door.connect() as connection:
        connection.sendall(get("/nowhere") + get(page) + request("/predict", body) + get(page) + get("/livez"))
        time.sleep(0.1)
        connection.sendall(get("/nowhere") + request("/predict", body, CLOSE))
        received = responses(rest(connection))
    assert [status for status, _, _ in received] == [404, 200, 200, 200, 200, 404, 200]
    assert len(received[1][2]) > 1_000_000 and received[1][2] == received[3][2]
    assert predictions(received[2][2]) == predictions(received[6][2])


def test_long_page_is_out_before_the_connection_ends(door: FrontDoor) -> None:
    page = get("/static_content/swagger-ui-bundle.js", CLOSE)
    ((_, _, content),) = responses(door.ask(page))
    with door.connect() as connection:  # nor does it end when its caller says that it will send no more
        connection.sendall(page.replace(b"Connection: close\r\n", b""))
        connection.shutdown(socket.SHUT_WR)
        time.sleep(0.1)
        ((_, _, same),) = responses(rest(connection))
    assert len(content) > 1_000_000 and content == same


def test_long_pages_cost_no_memory_while_nobody_reads_them(door: FrontDoor) -> None:
    page = get("/static_content/swagger-ui-bundle.js")
    with door.connect() as connection:
        connection.sendall(page * (4096 // len(page)))
        until(lambda: door.look(lambda: any(len(each.outbox.waiting) > 40 for each in door.door.connections)))
        (waiting,) = door.door.connections
        pages = door.look(lambda: [each for each in waiting.outbox.waiting if len(each) > 1_000_000])
        assert len({id(each.obj) for each in pages}) == 1
        assert waiting.transport.get_write_buffer_size() < 256 * 1024
        connection.sendall(request("/predict", b"{}", CLOSE))
        assert len(responses(rest(connection))) == 4096 // len(page) + 1


def test_each_page_names_the_model_version(door: FrontDoor, case: Case) -> None:
    ((status, headers, content),) = responses(door.ask(get("/readyz?verbose=1", CLOSE)))
    assert (status, headers["x-model-version"], content) == (200, case.version, b"\n")


def test_request_for_a_page_is_refused_as_any_other_is(door: FrontDoor, core: Core) -> None:
    many = [f"X{n}: 1" for n in range(core.limits.head_limit_count)]
    for asked, status in (
        (get("/metrics", CLOSE, "Content-Type: application/X-Pickle"), 415),
        (get("/livez", CLOSE, *many), 431),
        (request("/metrics", b"{}", CLOSE), 405),
    ):
        assert responses(door.ask(asked))[0][0] == status


def test_connection_is_closed_after_the_answer_when_the_request_is_http_1_0(door: FrontDoor, body: bytes) -> None:
    for extra in ((), ("Connection: keep-alive",)):
        asked = request("/predict", body, *extra).replace(b"HTTP/1.1", b"HTTP/1.0")
        ((status, headers, _),) = responses(door.ask(asked))
        assert (status, headers["connection"]) == (200, "close")


def test_head_is_answered_without_a_body(door: FrontDoor) -> None:
    with door.connect() as connection:
        connection.sendall(request("/docs.json", method="HEAD"))
        received = b""
        while not received.endswith(b"\r\n\r\n"):
            received += connection.recv(1 << 16)
        length = int(received.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        connection.sendall(get("/docs.json"))
        assert len(one_response(connection)[2]) == length


def test_body_is_asked_for_when_the_caller_expects_that(door: FrontDoor, case: Case, body: bytes) -> None:
    whole = request("/predict", body, "Expect: 100-continue", CLOSE)
    head, content = whole[: -len(body)], whole[-len(body) :]
    with door.connect() as connection:
        connection.sendall(head)
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(content)
        ((status, _, answer),) = responses(rest(connection))
    assert (status, predictions(answer)) == (200, case.answers[:1])


def test_refused_caller_need_not_send_its_body_when_it_waits_to_be_asked(door: FrontDoor) -> None:
    with door.connect() as connection:
        connection.sendall(request("/nowhere", b"x" * 9, "Expect: 100-continue")[:-9])
        status, headers, _ = one_response(connection)
    assert (status, headers["connection"]) == (404, "close")


def test_connection_serves_on_after_a_refusal_that_did_not_wait_for_the_body(door: FrontDoor, body: bytes) -> None:
    with door.connect() as connection:
        refused = request("/nowhere", b"x" * 50_000)
        connection.sendall(refused[:100])
        connection.sendall(refused[100:])
        assert one_response(connection)[0] == 404
        connection.sendall(request("/predict", body))
        assert one_response(connection)[0] == 200


def test_path_is_found_when_it_is_spelled_otherwise(door: FrontDoor, body: bytes) -> None:
    for target, status in [
        ("/predict?a=b", 200),
        ("http://other/predict", 200),
        ("/%70redict", 200),
        ("/predict#x", 200),
        ("//predict", 404),
        ("*", 404),
        ("/%ff", 404),
        ("/predict%00", 404),
    ]:
        ((answer, _, _),) = responses(door.ask(request(target, body, CLOSE)))
        assert (target, answer) == (target, status)


def test_answer_is_complete_when_the_caller_has_closed_its_half(door: FrontDoor, case: Case, body: bytes) -> None:
    for asked, status in ((request("/predict", body), 200), (get("/livez"), 200)):
        with door.connect() as connection:
            connection.sendall(asked)
            connection.shutdown(socket.SHUT_WR)
            assert [answer for answer, _, _ in responses(rest(connection))] == [status]


def test_each_request_is_answered_when_many_came_before_the_caller_closed_its_half(
    door: FrontDoor, body: bytes
) -> None:
    with door.connect() as connection:
        sender = threading.Thread(
            target=lambda: (connection.sendall(request("/predict", body) * 3000), connection.shutdown(socket.SHUT_WR))
        )
        sender.start()
        received = responses(rest(connection))
        sender.join()
    assert [status for status, _, _ in received] == [200] * 3000


def test_request_is_counted_when_its_caller_went_away(door: FrontDoor, core: Core, body: bytes) -> None:
    def gone() -> int:
        return sum(core.metrics._buckets.get(("http", "disconnected"), []))

    before = gone()
    with door.connect() as connection:
        connection.sendall(request("/predict", body)[:-5])
        time.sleep(0.05)
    until(lambda: gone() > before and door.door.held_bytes == 0)
    assert gone() == before + 1


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /\xff HTTP/1.1\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
        b"POST /predict HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
)
def test_connection_ends_with_400_when_what_comes_is_not_http(door: FrontDoor, garbage: bytes) -> None:
    (*_, (status, headers, content)) = responses(door.ask(get("/v2") + garbage))
    assert (status, headers["connection"], json.loads(content)["error"]["code"]) == (400, "close", "bad_request")
