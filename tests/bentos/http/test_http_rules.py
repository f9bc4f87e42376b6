"""What HTTP asks of a server beside the answers: statuses by RFC 9110 and 9112, Upgrade, OPTIONS, and answers that web pages may read."""

from __future__ import annotations

import json
from email.utils import formatdate
from typing import Any

import pytest

from bentos.core import Core
from bentos.protocols.http.app import HttpApp
from bentos.protocols.http.http1.door import date_of
from contract import cors
from contract.errors import ConfigurationError
from tests.bentos.caller import Caller
from tests.bentos.conftest import Case
from tests.bentos.http.http_server import CLOSE, FrontDoor, get, one_response, request, responses, rest

ORIGIN = "https://app.example.org"


def ask(door: FrontDoor, asked: bytes) -> tuple[int, dict[str, str], bytes]:
    with door.connect() as connection:
        connection.sendall(asked)
        return one_response(connection)


# ---- statuses ----


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        # RFC 9112, 3.2: no Host, two, or one that is none
        (b"GET /livez HTTP/1.1\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nHost: u@a\r\n\r\n", 400),
        (b"GET /livez HTTP/1.1\r\nHost: a:b\r\n\r\n", 400),
        (b"GET /livez HTTP/1.0\r\nHost: a b\r\n\r\n", 400),
        (b"GET /livez HTTP/1.0\r\n\r\n", 200),
        (b"GET /livez HTTP/1.1\r\nHost:\r\n\r\n", 200),
        (b"GET /livez HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", 200),
        (b"GET /livez HTTP/1.1\r\nHost: my_host.example:8080 \r\n\r\n", 200),
        # RFC 9110, 15.6.6 and 2.5: another major version, a later minor one
        (b"GET /livez HTTP/2.0\r\nHost: a\r\n\r\n", 505),
        (b"GET /livez HTTP/9.9\r\nHost: a\r\n\r\n", 505),
        (b"GET /livez HTTP/0.9\r\nHost: a\r\n\r\n", 505),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        (b"GET /livez HTTP/1.2\r\nHost: a\r\n\r\n", 200),
        # RFC 9110, 15.6.2 and 9.1: a method that is not recognized, in any spelling, and one that is
        (b"FOO /livez HTTP/1.1\r\nHost: a\r\n\r\n", 501),
        (b"get /livez HTTP/1.1\r\nHost: a\r\n\r\n", 501),
        (b"GETX /livez HTTP/1.1\r\nHost: a\r\n\r\n", 501),
        (b"DESCRIBE /livez HTTP/1.1\r\nHost: a\r\n\r\n", 501),
        (b"CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", 501),
        (b"PUT /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", 405),
        (b"QUERY /livez HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", 405),
        (b"TRACE /livez HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        # RFC 9112, 6.1 and 6.3: transfer codings that are not understood, not last, or of HTTP/1.0
        (b"POST /predict HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
        (b"POST /predict HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 501),
        (b"POST /predict HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n", 400),
        (b"POST /predict HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        # RFC 9112, 5.1: no white space before the colon
        (b"GET /livez HTTP/1.1\r\nHost : a\r\n\r\n", 400),
    ],
)  # fmt: skip
def test_status_is_the_one_that_http_asks_for(door: FrontDoor, asked: bytes, status: int) -> None:
    answered, headers, _ = ask(door, asked)
    assert answered == status
    closes = status not in (200, 405) or b"HTTP/1.0" in asked
    assert headers.get("connection") == ("close" if closes else None)


def test_status_is_the_same_when_a_good_request_came_before_it(door: FrontDoor) -> None:
    for second, status in ((b"FOO / HTTP/1.1\r\nHost: a\r\n\r\n", 501), (b"GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505)):
        assert [answer for answer, _, _ in responses(door.ask(get("/livez") + second))] == [200, status]


def test_white_space_around_a_value_is_no_part_of_it(door: FrontDoor, case: Case, body: bytes) -> None:
    """RFC 9112, 5: field-line = field-name ":" OWS field-value OWS."""
    head = (
        f"POST /predict HTTP/1.1\r\nHost:x \t\r\nContent-Type:application/json \r\nContent-Length: \t{len(body)} \t\r\n"
    )
    status, _, content = ask(door, head.encode() + b"\r\n" + body)
    assert (status, json.loads(content)["predictions"]) == (200, case.answers[:1])
    chunked = head.replace(f"Content-Length: \t{len(body)} \t", "Transfer-Encoding: Chunked ").encode()
    status, _, content = ask(door, chunked + b"\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
    assert (status, json.loads(content)["predictions"]) == (200, case.answers[:1])


def test_values_are_joined_when_a_field_comes_twice(door: FrontDoor, body: bytes) -> None:
    """RFC 9110, 5.3: in their order, by commas; which is no content type, nor a key."""
    twice = request("/predict", body, "Content-Type: text/plain", CLOSE)
    assert responses(door.ask(twice))[0][0] == 415


def test_continue_is_not_said_to_http_1_0(door: FrontDoor, case: Case, body: bytes) -> None:
    """RFC 9110, 10.1.1: a server ignores that expectation in a request of HTTP/1.0."""
    asked = request("/predict", body, "Expect: 100-continue").replace(b"HTTP/1.1", b"HTTP/1.0")
    ((status, _, content),) = responses(door.ask(asked))
    assert (status, json.loads(content)["predictions"]) == (200, case.answers[:1])


@pytest.mark.parametrize("excess", [-1, 1, 4000])
def test_head_is_measured_to_the_byte_when_it_comes_at_once(door: FrontDoor, core: Core, excess: int) -> None:
    limit = core.limits.head_limit_bytes
    counted = len("/livez") + len("hostx") + 4 + len("x") + 4
    asked = get("/livez", f"X: {'x' * (limit + excess - counted)}")
    assert ask(door, asked)[0] == (431 if excess > 0 else 200)


# ---- Upgrade: RFC 9110, 7.8 ----

H2C = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA")


def test_upgrade_is_ignored_with_a_body_and_without(door: FrontDoor, case: Case, body: bytes) -> None:
    with door.connect() as connection:
        for asked in (get("/v2", *H2C), request("/predict", body, *H2C), request("/predict", body)):
            connection.sendall(asked)
            status, headers, content = one_response(connection)
            assert (status, "connection" in headers) == (200, False)
        assert json.loads(content)["predictions"] == case.answers[:1]


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_upgrade_is_ignored_when_the_request_comes_in_pieces(
    door: FrontDoor, case: Case, body: bytes, size: int
) -> None:
    chunked = request("/predict", b"", *H2C).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    chunked += b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    whole = request("/predict", body, *H2C) + chunked + get("/livez", CLOSE)
    with door.connect() as connection:
        for start in range(0, len(whole), size):
            connection.sendall(whole[start : start + size])
        received = responses(rest(connection))
    assert [status for status, _, _ in received] == [200, 200, 200]
    assert all(json.loads(content)["predictions"] == case.answers[:1] for _, _, content in received[:2])


def test_body_of_an_upgrade_is_a_body_and_no_further_request(door: FrontDoor, body: bytes) -> None:
    smuggled = request("/predict", get("/v2/health/live"), *H2C, CLOSE.replace("close", "close, Upgrade"))
    assert [status for status, _, _ in responses(door.ask(smuggled + get("/livez")))] == [400]


def test_continue_is_said_when_an_upgrade_waits_for_it(door: FrontDoor, case: Case, body: bytes) -> None:
    whole = request("/predict", body, *H2C, "Expect: 100-continue")
    with door.connect() as connection:
        connection.sendall(whole[: -len(body)])
        assert connection.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(body)
        assert one_response(connection)[0] == 200


# ---- OPTIONS: RFC 9110, 9.3.7 ----


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("*", "GET, HEAD, POST, OPTIONS"),
        ("/", "GET, HEAD, OPTIONS"),
        ("/livez", "GET, HEAD, OPTIONS"),
        ("/predict", "POST, OPTIONS"),
        ("/v2", "GET, HEAD, OPTIONS"),
        ("/v2/models/{name}/infer", "POST, OPTIONS"),
        ("/v2/models/{name}/versions/{version}", "GET, HEAD, OPTIONS"),
        ("/v2/repository/index", "POST, OPTIONS"),
    ],
)
def test_options_say_what_a_path_takes_and_so_does_a_refusal(
    door: FrontDoor, core: Core, path: str, allowed: str
) -> None:
    path = path.format(name=core.name, version=core.version)
    status, headers, content = ask(door, request(path, method="OPTIONS"))
    assert (status, headers["allow"], headers["content-length"], content) == (200, allowed.lower(), "0", b"")
    if path != "*":
        status, headers, _ = ask(door, request(path, method="DELETE"))
        assert (status, headers["allow"]) == (405, allowed.lower())


def test_options_are_not_counted_as_predictions_and_need_no_key(core: Core, monkeypatch: pytest.MonkeyPatch) -> None:
    class Closed:
        def check_path(self, path: str, authorization: bytes) -> None:
            raise AssertionError(path)

    monkeypatch.setattr(core, "access", Closed())
    before = {key: sum(counts) for key, counts in core.metrics._buckets.items()}
    answer = Caller(HttpApp(core))("OPTIONS", "/predict")
    assert (answer.status, answer.headers["allow"]) == (200, "POST, OPTIONS")
    assert {key: sum(counts) for key, counts in core.metrics._buckets.items()} == before


def test_health_check_of_haproxy_is_answered_where_there_is_no_page(core: Core) -> None:
    app = HttpApp(core, frozenset(("/livez",)))
    assert Caller(app)("OPTIONS", "/").headers["allow"] == "OPTIONS"
    assert Caller(app)("OPTIONS", "/metrics").status == Caller(app)("GET", "/").status == 404


# ---- CORS ----


@pytest.fixture
def shared(core: Core) -> Caller:
    return Caller(HttpApp(core, cors=cors.read({cors.VARIABLE: f"{ORIGIN}, http://localhost:5173"})))


def preflight(http: Caller, origin: str, path: str = "/predict") -> Any:
    asks = {"origin": origin, "access-control-request-method": "POST", "access-control-request-headers": "content-type"}
    return http("OPTIONS", path, headers=asks)


def test_web_page_may_read_answers_and_refusals_when_its_origin_is_listed(shared: Caller, case: Case) -> None:
    answer = preflight(shared, ORIGIN)
    assert answer.status == 200
    assert answer.headers["access-control-allow-origin"] == ORIGIN
    assert answer.headers["access-control-allow-methods"] == "POST, OPTIONS"
    assert {"authorization", "content-type"} <= set(answer.headers["access-control-allow-headers"].split(", "))
    body = json.dumps({"rows": case.rows[:1]}).encode()
    for content, status in ((body, 200), (b"{", 400)):
        asks = {"origin": ORIGIN, "content-type": "application/json"}
        answer = shared("POST", "/predict", content, asks)
        assert (answer.status, answer.headers["access-control-allow-origin"]) == (status, ORIGIN)
        assert answer.headers["vary"] == "Origin"
        assert "x-model-version" in answer.headers["access-control-expose-headers"]
        assert "access-control-allow-credentials" not in answer.headers
    assert shared("GET", "/livez", headers={"origin": "http://localhost:5173"}).headers["vary"] == "Origin"


def test_web_page_may_read_nothing_when_its_origin_is_not_listed(shared: Caller, http: Caller) -> None:
    for caller, origin in (
        (shared, "https://app.example.org.evil"),
        (shared, "null"),
        (shared, f"{ORIGIN}/"),
        (shared, ""),
        (http, ORIGIN),
    ):
        for answer in (preflight(caller, origin), caller("GET", "/livez", headers={"origin": origin})):
            assert answer.status == 200
            assert not [name for name in answer.headers if name.startswith("access-control")]


@pytest.mark.parametrize("text", ["*", "app.example.org", f"{ORIGIN}/", "https://App.example.org", "null", "a;b"])
def test_setting_is_refused_when_it_lists_what_is_no_origin(text: str) -> None:
    with pytest.raises(ConfigurationError, match=r"BULKHEAD_CORS_ORIGINS contains .* which is not an origin"):
        cors.read({cors.VARIABLE: f"{ORIGIN},{text}"})


def test_nobody_is_listed_when_the_setting_is_empty() -> None:
    assert cors.read({}) == cors.read({cors.VARIABLE: " "}) == frozenset()


@pytest.mark.parametrize("seconds", [-1, 784_111_777, 951_782_400, 1_798_761_599])
def test_date_is_that_of_the_standard_library(seconds: int) -> None:
    assert date_of(seconds).decode() == formatdate(seconds, usegmt=True)
