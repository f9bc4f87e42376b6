"""The load generators: what they take for an answer, and short real runs against the two bare servers."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harness import interpreter, servers
from harness.load import closed_loop, generators
from harness.load.generators import Job, Outcome

needs_servers = pytest.mark.skipif(
    not (interpreter("bench").exists() and interpreter("serving").exists() and interpreter("client").exists()),
    reason="needs the environments bench, serving and client beside this one",
)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: y\r\n\r\nhello"


def test_a_response_is_complete_at_its_last_byte_only() -> None:
    assert [closed_loop.is_complete(OK[:size]) for size in range(1, len(OK) + 1)] == [False] * (len(OK) - 1) + [True]


@pytest.mark.parametrize(
    "response",
    [
        OK.replace(b"200 OK", b"503 Service Unavailable"),
        OK.replace(b"Content-Length: 5", b"Transfer-Encoding: chunked"),
        b"HTTP/1.1 200 OK\r\nX: y\r\n\r\ncontent-length: 5\r\n\r\n",  # a length in the body is none
    ],
)
def test_anything_but_a_sized_200_stops_the_run(response: bytes) -> None:
    with pytest.raises(RuntimeError, match="the server answered"):
        closed_loop.is_complete(response)


def test_a_refusal_is_allowed_in_a_saturating_run_alone() -> None:
    refused = OK.replace(b"200 OK", b"503 Service Unavailable")
    assert closed_loop.is_complete(refused, or_refused=True)
    assert not closed_loop.is_complete(refused[:-1], or_refused=True)
    with pytest.raises(RuntimeError, match="the server answered"):
        closed_loop.is_complete(OK.replace(b"200 OK", b"500 Internal Server Error"), or_refused=True)


def test_a_run_in_which_more_than_a_tenth_is_refused_is_no_measurement() -> None:
    assert closed_loop.answered_of(900, 100) == 900
    with pytest.raises(RuntimeError, match="refused 101 of 1000 requests: the machine is too busy"):
        closed_loop.answered_of(899, 101)


def test_a_closed_connection_stops_the_run() -> None:
    with (
        _answering(OK[:-1]) as port,
        closed_loop.connect(port) as connection,
        pytest.raises(RuntimeError, match="closed"),
    ):
        closed_loop.exchange(connection, closed_loop.request("/predict", b"{}"))


def test_requests_reach_a_server_as_they_were_given() -> None:
    received: list[bytes] = []
    with _answering(OK, received) as port, closed_loop.connect(port) as connection:
        assert closed_loop.exchange(connection, closed_loop.request("/predict", b'{"rows": []}')) == OK
    head, body = received[0].split(b"\r\n\r\n")
    assert head.splitlines()[0] == b"POST /predict HTTP/1.1"
    assert b"Content-Length: 12" in head.splitlines()
    assert body == b'{"rows": []}'


def test_a_job_carries_any_bytes() -> None:
    payloads = [bytes(range(256)), b""]
    job = Job(port=1, requests=generators.encode(payloads), server=2)
    assert job.payloads() == payloads


def test_requests_per_core_are_counted_by_the_servers_cpu_time() -> None:
    assert Outcome(latencies_ms=[], completed=3000, wall_s=2.0, cpu_s=0.5).per_core == 6000


@needs_servers
def test_http_load_on_the_bare_server(tmp_path: Path) -> None:
    with servers.hello(tmp_path) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        connection.request("POST", "/predict", b"{}")
        assert json.loads(connection.getresponse().read())["predictions"] == [{"probability": 0.5, "label": "on_time"}]
        connection.close()
        requests = generators.encode(
            [closed_loop.request("/predict", b"{}"), closed_loop.request("/predict", b"[" * 5000)]
        )
        _check_outcomes(generators.HTTP, server.port, requests, server.pid)


@needs_servers
def test_grpc_load_on_the_bare_server(tmp_path: Path) -> None:
    with servers.grpc_hello(tmp_path) as server:
        _check_outcomes(generators.GRPC, server.grpc_port, generators.encode([b"anything", b""]), server.pid)


@needs_servers
def test_a_server_that_does_not_start_is_reported_with_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "free_ports", lambda count: [1] * count)  # a privileged port, or one that is not free
    monkeypatch.setattr(servers, "interpreter", lambda _: Path("/bin/false"))
    with pytest.raises(servers.NotReadyError, match="did not become ready"), servers.hello(tmp_path):
        pass


def _check_outcomes(program: str, port: int, requests: tuple[str, ...], server: int) -> None:
    alone = generators.run(program, Job(port=port, requests=requests, server=server, count=50))
    assert alone.completed == len(alone.latencies_ms) == 50
    assert all(0 < latency < 10_000 for latency in alone.latencies_ms)
    assert sum(alone.latencies_ms) / 1000 <= alone.wall_s
    flooded = generators.run(program, Job(port=port, requests=requests, server=server, seconds=2))
    assert flooded.latencies_ms == []
    assert flooded.completed > 50
    assert 0 < flooded.cpu_s <= flooded.wall_s * 2


@contextmanager
def _answering(response: bytes, received: list[bytes] | None = None) -> Iterator[int]:
    """A server that takes one request, answers these bytes, and closes."""

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            request = connection.recv(1 << 16)
            if received is not None:
                received.append(request)
            connection.sendall(response)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(10)
