"""Fault 28 over real sockets: what is refused is refused at once and says when to come again, and nothing else suffers.

How much is answered under an overload, and how late, is for `python -m benchmarks overload` to say.
"""

from __future__ import annotations

import json
import math
import shutil
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bentos.core import Core
from bentos.errors import OverloadedError
from bentos.guards.admission import Admission
from bentos.monitoring.metrics import Metrics
from bentos.protocols.http.http1.connection import HttpConnection
from bentos.protos import oip_pb2
from contract.bundle import manifest
from contract.files import canonical_json
from tests.bentos.caller import Caller
from tests.bentos.conftest import Case, Server
from tests.bentos.grpc.client import typed_request
from tests.bentos.grpc.http2_peer import INFER, Peer, call_frames, grpc_door
from tests.bentos.http.http_server import FrontDoor, front_door, get, one_response, request, responses
from tests.bentos.monitoring.test_metrics import samples
from tests.bentos.running import start_server
from tests.bentos.test_core import rewrite

CLOSE = "Connection: close"
TIMEOUT = "X-Request-Timeout-Ms"
# So many callers, each with so many rows, take several times the budget. They hold back the end of what they ask until the server has
# read all the rest, for which it gets some rounds: while it answers the first, all the others come, and are one round.
CROWD = 40
THOUSAND = 1000
ROUNDS = 20


@dataclass
class Rounds:
    """The rounds of an event loop, in the test's hands."""

    admission: Admission
    now: float = 1000.0
    _ends: list[Callable[[], None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.admission.clock = lambda: self.now
        self.admission.call_soon = self._ends.append

    def fill(self) -> None:
        """Some answers, the last of which took all of the round, and a refusal."""
        for took in (0, 0, 0, 100):
            self.admission.admit(1, self.now, math.inf)
            self.now += took
            self.admission.done()
        with pytest.raises(OverloadedError):
            self.admission.admit(1, self.now, math.inf)

    def end(self) -> None:
        self._ends.pop()()


@pytest.fixture
def rounds(core: Core, monkeypatch: pytest.MonkeyPatch) -> Rounds:
    monkeypatch.setattr(core, "metrics", Metrics(core.version))
    monkeypatch.setattr(core, "admission", Admission(core.limits.latency_budget_s, core.metrics))
    return Rounds(core.admission)


@pytest.fixture
def door(core: Core, rounds: Rounds) -> Iterator[FrontDoor]:
    assert core.admission is rounds.admission
    with front_door(core) as running:
        yield running


def infer_path(case: Case) -> str:
    return f"/v2/models/{case.schema.name}/infer"


def overloaded(core: Core, protocol: str) -> float:
    """How many requests the metrics say were refused."""
    asked = (("outcome", "overloaded"), ("protocol", protocol))
    return samples(core.metrics.text()).get(("bulkhead_requests_total", asked), 0.0)


def check_refusal(path: str, answer: tuple[int, dict[str, str], bytes]) -> None:
    status, headers, content = answer
    assert (status, headers["retry-after"], headers["content-type"]) == (503, "1", "application/json")
    error = json.loads(content)["error"]
    if path == "/predict":
        assert (error["code"], error["details"]) == ("overloaded", [])
    else:
        assert "try again" in error


@pytest.mark.parametrize("parsed", [True, False])
@pytest.mark.parametrize("path", ["/predict", "infer"])
def test_prediction_is_refused_in_the_form_of_its_protocol_until_the_round_ends(
    door: FrontDoor, core: Core, rounds: Rounds, case: Case, body: bytes, path: str, parsed: bool
) -> None:
    path = infer_path(case) if path == "infer" else path
    # What is not as clients usually send it goes through the parser.
    asked = request(path, body, *(["Upgrade-Insecure-Requests: 1"] if parsed else []))
    rounds.fill()
    with door.connect() as connection:
        for _ in range(3):
            connection.sendall(asked)
            check_refusal(path, one_response(connection))
        assert overloaded(core, "http" if path == "/predict" else "oip-http") == 3
        rounds.end()
        connection.sendall(request("/predict", body, CLOSE))
        status, headers, content = one_response(connection)
    assert (status, headers["connection"]) == (200, "close")
    assert json.loads(content)["predictions"] == case.answers[:1]


def test_refusal_is_made_without_the_parser_where_the_request_is_as_clients_send_it(
    door: FrontDoor, rounds: Rounds, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    rounds.fill()
    asked = {
        "the first one": request("/predict", body),
        "curl": request("/predict", body, "User-Agent: curl/8.5.0", "Accept: */*"),
        "httpx": request("/predict", body, "Accept-Encoding: gzip, deflate", "Connection: keep-alive"),
        "many rows": request("/predict", body * 40),
    }
    with door.connect() as connection:
        for name, whole in asked.items():
            connection.sendall(whole)
            assert one_response(connection)[0] == 503, name
            monkeypatch.setattr(HttpConnection, "_parse", None)  # it is not called from now on


@pytest.mark.parametrize(
    ("head", "body", "statuses"),
    [
        (["Content-Length: 2"], b"{}" + request("/predict", b"{}"), [503, 503, 404]),
        (["Content-Length: 2", CLOSE], b"{}", [503]),
        (["Content-Length: 2", "Expect: 100-continue"], b"{}", [100, 503, 404]),
        (["Transfer-Encoding: chunked"], b"2\r\n{}\r\n0\r\n\r\n", [503, 404]),
        (["TRANSFER-ENCODING : chunked"], b"2\r\n{}\r\n0\r\n\r\n", [400]),
        (["Content-Length: 2", "Content-Length: 40"], b"{}" + b" " * 38, [400]),
        (["Content-Length: 2", "content-length : 40"], b"{}" + b" " * 38, [400]),
        (["Content-Length: 2\r\n Content-Length: 40"], b"{}" + b" " * 38, [400]),
        (["Content-Length: +2"], b"{}", [400]),
    ],
)
def test_what_is_not_as_clients_send_it_is_parsed_as_ever(
    door: FrontDoor, rounds: Rounds, head: list[str], body: bytes, statuses: list[int]
) -> None:
    rounds.fill()
    lines = ["POST /predict HTTP/1.1", "Host: x", "Content-Type: application/json", *head, "", ""]
    received = responses(door.ask("\r\n".join(lines).encode() + body, get("/nowhere", CLOSE)))
    assert [status for status, _, _ in received] == statuses


def test_requests_in_pieces_are_refused_when_they_are_complete(door: FrontDoor, rounds: Rounds, body: bytes) -> None:
    whole = request("/predict", body, CLOSE)
    rounds.fill()
    for cut in (1, 30, len(whole) - len(body), len(whole) - 1):
        ((status, headers, _),) = responses(door.ask(whole[:cut], whole[cut:]))
        assert (status, headers["retry-after"]) == (503, "1")


def test_everything_but_predictions_is_answered_in_a_full_round(door: FrontDoor, rounds: Rounds, case: Case) -> None:
    rounds.fill()
    for path, status in (("/readyz", 200), ("/metrics", 200), ("/v2/health/ready", 200), (infer_path(case)[:-6], 200)):
        assert responses(door.ask(get(path, CLOSE)))[0][0] == status


@pytest.mark.parametrize("path", ["/predict", "infer"])
def test_deadline_is_kept_or_the_request_refused(http: Caller, rounds: Rounds, case: Case, path: str) -> None:
    tensors = [
        {
            "name": field.name,
            "datatype": "FP64" if field.kind == "number" else "BYTES",
            "shape": [1],
            "data": [case.row[field.name]],
        }
        for field in case.schema.fields
        if field.name in case.row
    ]
    asked: Any = {"rows": case.rows[:1]} if path == "/predict" else {"inputs": tensors}
    path = infer_path(case) if path == "infer" else path

    def ask(timeout: str) -> tuple[int, Any]:
        headers = {"content-type": "application/json", TIMEOUT: timeout}
        answer = http("POST", path, json.dumps(asked).encode(), headers)
        return answer.status, answer.json

    rounds.now = 0.0  # earlier than the request
    assert ask("250")[0] == 200
    rounds.end()
    rounds.now = 1e9  # the caller has sent it long ago
    status, answer = ask("250")
    assert status == 504
    assert "deadline" in str(answer)
    for wrong in ("", "soon", "-1", "1.5", "9" * 30):
        status, answer = ask(wrong)
        assert status == 400
        assert TIMEOUT in str(answer)


def test_call_is_refused_until_the_round_ends_and_told_when_to_come_again(
    core: Core, rounds: Rounds, case: Case
) -> None:
    message = typed_request(case, core, case.rows[:1]).SerializeToString()
    with grpc_door(core) as running, Peer(running.port) as peer:
        for stream in (1, 3, 5):
            if stream == 1:
                rounds.fill()
            peer.call(stream, INFER, message)
            refusal = peer.answer(stream)
            assert (refusal.status, refusal.fields[b"grpc-retry-pushback-ms"]) == (8, b"1000")
        assert overloaded(core, "oip-grpc") == 3
        peer.call(7)
        assert peer.answer(7).status == 0  # whether the server lives
        rounds.end()
        peer.call(9, INFER, message)
        answer = oip_pb2.ModelInferResponse.FromString(peer.answer(9).message)
    assert list(answer.outputs[0].contents.fp64_contents) == [case.answers[0]["probability"]]


def test_callers_of_one_protocol_wait_for_those_of_the_other(
    door: FrontDoor, core: Core, rounds: Rounds, case: Case, body: bytes
) -> None:
    message = typed_request(case, core, case.rows[:1]).SerializeToString()
    rounds.fill()
    with grpc_door(core) as running, Peer(running.port) as peer:
        peer.call(1, INFER, message)
        assert peer.answer(1).status == 8
    assert responses(door.ask(request("/predict", body, CLOSE)))[0][0] == 503


def test_message_that_is_too_long_is_not_to_be_sent_again(core: Core) -> None:
    with grpc_door(core) as running, Peer(running.port) as peer:
        peer.call(1, INFER, b" " * (core.limits.body_limit_bytes + 1))
        refusal = peer.answer(1)
    assert (refusal.status, refusal.fields[b"grpc-retry-pushback-ms"]) == (8, b"-1")


def is_ready(connection: socket.socket) -> bool:
    connection.sendall(get("/readyz"))
    return one_response(connection)[0] == 200


def test_crowd_gets_right_answers_or_refusals_and_health_is_answered_meanwhile(server: Server, case: Case) -> None:
    """On the real server."""
    copies = THOUSAND // 2 // len(case.rows)  # so few that the bodies of all fit into the server at once
    whole = request("/predict", json.dumps({"rows": case.rows * copies}).encode())
    host, port = server.http.split(":")
    with ExitStack() as stack:
        crowd = [stack.enter_context(socket.create_connection((host, int(port)), 10)) for _ in range(CROWD)]
        for connection in crowd:
            connection.sendall(whole[:-1])
        probe = stack.enter_context(socket.create_connection((host, int(port)), 10))
        assert all(is_ready(probe) for _ in range(ROUNDS))
        for connection in crowd:
            connection.sendall(whole[-1:])
        assert is_ready(probe)
        answers = []
        for connection in crowd:  # each may come again at once
            answers.append(one_response(connection))
            connection.sendall(request("/predict", json.dumps({"rows": case.rows[:1]}).encode(), CLOSE))
            assert one_response(connection)[0] in (200, 503)
    for status, headers, content in answers:
        if status == 503:
            assert headers["retry-after"] == "1"
        else:
            assert json.loads(content)["predictions"] == case.answers * copies
    assert {status for status, _, _ in answers} == {200, 503}


@pytest.fixture
def hasty(bundle: Path, tmp_path: Path) -> Iterator[Server]:
    """A server with a tenth of the latency budget: tensors of a thousand rows are answered so fast that few are refused under the whole."""
    copy = tmp_path / "bundle"
    shutil.copytree(bundle, copy)
    limits = json.loads((copy / manifest.ARTIFACT / "limits.json").read_bytes())
    rewrite(copy, "limits.json", canonical_json(limits | {"latency_budget_s": limits["latency_budget_s"] / 10}))
    running = start_server(copy, tmp_path)
    yield running
    running.stop()


def test_crowd_over_grpc_gets_right_answers_or_refusals(hasty: Server, case: Case, core: Core) -> None:
    copies = THOUSAND // len(case.rows)
    message = typed_request(case, core, case.rows * copies).SerializeToString()
    port = int(hasty.grpc.split(":")[1])
    with ExitStack() as stack:
        crowd = [stack.enter_context(Peer(port)) for _ in range(CROWD)]
        calls = [call_frames(1, peer.block(INFER), message) for peer in crowd]
        for peer, frames in zip(crowd, calls, strict=True):
            peer.send(*frames[:-1])
        probe = stack.enter_context(Peer(port))
        assert all(probe.is_live(2 * count + 1) for count in range(ROUNDS))
        for peer, frames in zip(crowd, calls, strict=True):
            peer.send(frames[-1])
        assert probe.is_live(2 * ROUNDS + 1)
        answers = [peer.answer(1) for peer in crowd]
    for answer in answers:
        if answer.status == 0:
            outputs = oip_pb2.ModelInferResponse.FromString(answer.message).outputs
            assert list(outputs[0].contents.fp64_contents) == [entry["probability"] for entry in case.answers] * copies
    assert {answer.status for answer in answers} == {0, 8}
