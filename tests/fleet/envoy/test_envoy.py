"""What Envoy itself answers: the real one before replicas that are not there, or do not answer."""

from __future__ import annotations

import json
import socket
import subprocess
from http.client import HTTPConnection
from pathlib import Path

import pytest

from fleet.configuration.state import Replica, State, socket_of
from fleet.envoy import routes
from harness import PROJECT
from tests.fleet.crowds.load import ask
from tests.fleet.envoy.conftest import Start

DIGEST = "a" * 64
GRPC_ERROR = ["grpc-status", "grpc-message", "grpc-retry-pushback-ms"]
ONE = Replica("one", DIGEST, admin_port=0)
SERVING = State(size=1, live=DIGEST, replicas=(ONE,))


def refusal(port: int, path: str) -> tuple[int, str | None, object]:
    """Status, Retry-After and error."""
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("POST", path, b"{}")
    response = connection.getresponse()
    found = response.status, response.getheader("retry-after"), json.loads(response.read())["error"]
    connection.close()
    return found


def call(port: int) -> list[str | None]:
    """Status, message and pushback in the answer to a gRPC call, sent as an HTTP/1.1 request of its content type."""
    connection = HTTPConnection("127.0.0.1", port, timeout=30)
    path = "/inference.GRPCInferenceService/ModelInfer"
    connection.request("POST", path, b"\0\0\0\0\0", {"content-type": "application/grpc"})
    response = connection.getresponse()
    connection.close()
    return [response.getheader(name) for name in GRPC_ERROR]


def test_unreachable_replicas_are_an_error_with_a_message_and_when_to_try_again(
    start: Start, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "TRIES", 3)  # all of them within the time that the route allows
    http_port, grpc_port = start(SERVING, root)
    message = "no replica is reachable; try again later"
    expected = {"code": "unavailable", "message": message, "details": []}
    assert refusal(http_port, "/predict") == (503, "1", expected)
    assert refusal(http_port, "/v2/models/x/infer") == (503, "1", message)
    assert call(grpc_port) == ["14", message, "1000"]


def test_late_replicas_are_an_error_with_a_message_and_when_to_try_again(
    start: Start, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(routes, "REQUEST_TIMEOUT_S", 1)
    (root / "run").mkdir()
    with socket.socket(socket.AF_UNIX) as http, socket.socket(socket.AF_UNIX) as grpc:
        for listening, protocol in ((http, "http"), (grpc, "grpc")):
            listening.bind(socket_of(protocol, "one", root))
            listening.listen()
        http_port, grpc_port = start(SERVING, root)
        message = "no replica answered in time; try again later"
        expected = {"code": "deadline_exceeded", "message": message, "details": []}
        assert refusal(http_port, "/predict") == (504, "1", expected)
        assert call(grpc_port) == ["14", message, "1000"]


def test_http_1_0_is_spoken_without_a_host_when_a_caller_speaks_it(start: Start, root: Path) -> None:
    http_port, _ = start(State(), root)
    with socket.create_connection(("127.0.0.1", http_port), 5) as caller:
        caller.sendall(b"GET /predict HTTP/1.0\r\n\r\n")
        answer = b"".join(iter(lambda: caller.recv(1 << 16), b""))  # the connection ends with the answer
    assert answer.split(b" ", 2)[1] == b"503"
    assert b"no model is live" in answer
    assert ask(http_port, "/predict")[0] == 503


@pytest.mark.parametrize("name", ["bundle", "fleet", "store"])
def test_command_runs_when_it_is_called_through_a_symbolic_link(name: str, tmp_path: Path) -> None:
    link = tmp_path / name
    link.symlink_to(PROJECT / "bin" / name)
    done = subprocess.run([link, "--help"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.startswith("usage: ")) == (0, True), done.stderr
