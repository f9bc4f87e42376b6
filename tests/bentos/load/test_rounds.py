"""Requests of one round of the event loop are scored together, and each caller gets what it would get alone."""

from __future__ import annotations

import json
import math
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import chain
from types import SimpleNamespace
from typing import Any

import pytest
from hyperframe.frame import RstStreamFrame

from bentos import rounds as core_rounds
from bentos.core import Core
from bentos.errors import DeadlineError, OverloadedError
from bentos.guards.admission import Admission
from bentos.monitoring.metrics import Metrics
from bentos.protocols.http2 import connection as http2
from contract.model.columns.program import Columns
from harness.waiting import until
from tests.bentos.conftest import Case
from tests.bentos.grpc.client import chances, expected_chances, many_rows
from tests.bentos.grpc.http2_peer import INFER, Peer, call_frames, grpc_door
from tests.bentos.http.http_server import FrontDoor, front_door, get, one_response, request, responses, rest
from tests.bentos.http.oip_requests import json_tensors


@pytest.fixture
def scored(core: Core, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of rows in each call to the model."""
    calls: list[int] = []
    score = core._predictor.score_matrix

    def count(matrix: Any) -> Any:
        calls.append(len(matrix))
        return score(matrix)

    monkeypatch.setattr(core._predictor, "score_matrix", count)
    return calls


@pytest.fixture(scope="module")
def grpc(loaded_core: Core) -> Iterator[FrontDoor]:
    loaded_core.ready = True
    with grpc_door(loaded_core) as running:
        yield running


def infer(case: Case, core: Core, count: int, *, first: int = 0, **more: Any) -> bytes:
    rows = (case.rows * count)[first : first + count]
    body = json.dumps({"inputs": json_tensors(case, rows), **more}).encode()
    return request(f"/v2/models/{core.name}/infer", body)


def accepted(door: FrontDoor, count: int) -> None:
    until(lambda: door.look(lambda: len(door.door.connections) == count))


def alone(door: FrontDoor, whole: bytes) -> bytes:
    with door.connect() as connection:
        connection.sendall(whole)
        status, _, content = one_response(connection)
        assert status == 200
        return content


def test_requests_of_one_round_are_scored_together(door: FrontDoor, case: Case, core: Core, scored: list[int]) -> None:
    asked = [infer(case, core, count, first=count % 7) for count in (16, 30, 64)]
    expected = [alone(door, whole) for whole in asked]
    assert scored == [16, 30, 64]
    scored.clear()
    with ExitStack() as open_:
        connections = [open_.enter_context(door.connect()) for _ in asked]
        accepted(door, 3)
        with door.one_round():
            for connection, whole in zip(connections, asked, strict=True):
                connection.sendall(whole)
        answers = [one_response(connection) for connection in connections]
    assert [content for _, _, content in answers] == expected
    assert scored == [110]


def test_round_is_scored_in_parts_when_it_is_long(door: FrontDoor, case: Case, core: Core, scored: list[int]) -> None:
    with ExitStack() as open_:
        connections = [open_.enter_context(door.connect()) for _ in range(5)]
        accepted(door, 5)
        with door.one_round():
            for connection in connections:
                connection.sendall(infer(case, core, 100))
        assert len({one_response(connection)[2] for connection in connections}) == 1
    assert scored == [200, 200, 100]


def test_answers_of_a_connection_keep_their_order(door: FrontDoor, case: Case, core: Core, scored: list[int]) -> None:
    other = infer(case, core, 20)
    pipelined = [infer(case, core, 20, first=number, id=str(number)) for number in range(3)]
    with door.connect() as waits, door.connect() as connection:
        with door.one_round():
            waits.sendall(other)
            connection.sendall(pipelined[0] + pipelined[1] + get("/healthz") + pipelined[2])
            connection.shutdown(socket.SHUT_WR)
        found = responses(rest(connection))
        assert one_response(waits)[0] == 200
    assert [b'"id":"%d"' % number in found[place][2] for number, place in enumerate((0, 1, 3))] == [True] * 3
    assert found[2][2] == b"\n"
    assert sum(scored) == 80


def test_prediction_of_another_kind_does_not_wait_and_ends_the_wait_of_others(
    grpc: FrontDoor, case: Case, core: Core, scored: list[int]
) -> None:
    with Peer(grpc.port) as peer:
        assert peer.is_live(1)
        counts = {3: 20, 5: 1, 7: 30}
        calls = [
            call_frames(stream, peer.block(INFER), many_rows(case, core, count)) for stream, count in counts.items()
        ]
        with grpc.one_round():
            peer.send(*chain.from_iterable(calls))
        for stream in (5, 3, 7):
            assert chances(peer.answer(stream).message) == expected_chances(case, counts[stream])
    assert scored == [1, 20, 30]


def test_body_of_a_request_is_not_kept_while_it_waits(
    door: FrontDoor, case: Case, core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, add = [], core.rounds.add

    def look(columns: Columns, resume: Any) -> None:
        kept.append(resume.args[0].body)
        add(columns, resume)

    monkeypatch.setattr(core.rounds, "add", look)
    alone(door, infer(case, core, 20))
    assert kept == [b""]


def test_invalid_request_of_a_round_fails_alone(door: FrontDoor, case: Case, core: Core, scored: list[int]) -> None:
    asked = [infer(case, core, count) for count in (20, 30)]
    expected = [alone(door, whole) for whole in asked]
    field = next(field.name for field in core.schema.fields if field.kind == "category" and field.required)
    inputs = [
        tensor | {"data": ["", *tensor["data"][1:]]} if tensor["name"] == field else tensor
        for tensor in json_tensors(case, (case.rows * 20)[:20])
    ]
    wrong = request(f"/v2/models/{core.name}/infer", json.dumps({"inputs": inputs}).encode())
    scored.clear()
    with ExitStack() as open_:
        connections = [open_.enter_context(door.connect()) for _ in range(3)]
        accepted(door, 3)
        with door.one_round():
            for connection, whole in zip(connections, (asked[0], wrong, asked[1]), strict=True):
                connection.sendall(whole)
        first, refused, last = [one_response(connection) for connection in connections]
    assert [first[2], last[2]] == expected
    assert refused[0] == 400
    assert f"row 0, field '{field}': required, but missing" in json.loads(refused[2])["error"]
    assert scored == [50]


def test_no_more_requests_wait_than_memory_allows() -> None:
    admission, answered = Admission(0.2, Metrics("v")), []
    admission.call_soon = lambda _: None  # a round that does not end
    predictor: Any = SimpleNamespace(score_columns=lambda requests: [None] * len(requests))
    rounds = core_rounds.Rounds(predictor, admission, 2)
    for number in range(3):
        admission.admit(1, admission.clock(), math.inf)
        admission.done()
        rounds.add(Columns({}, 16, list), lambda _, number=number: answered.append(number))
    assert answered == [0, 1]


def test_others_are_answered_and_the_round_ends_when_one_of_them_fails() -> None:
    admission, answered, ends = Admission(0.2, Metrics("v")), [], []
    admission.call_soon = ends.append
    predictor: Any = SimpleNamespace(score_columns=lambda requests: [None] * len(requests))
    rounds = core_rounds.Rounds(predictor, admission, 8)

    def resume(number: int) -> None:
        if number == 1:
            raise RuntimeError
        answered.append(number)

    for _ in range(2):
        for number in range(3):
            admission.admit(1, admission.clock(), math.inf)
            admission.done()
            rounds.add(Columns({}, 16, list), lambda _, number=number: resume(number))
        ends.pop()()
        assert not admission.is_running
    assert answered == [0, 2, 0, 2]
    assert not admission._held


def test_round_ends_when_the_scoring_of_what_waits_fails() -> None:
    admission, ends = Admission(0.2, Metrics("v")), []
    admission.call_soon = ends.append

    def fail(_: Any) -> Any:
        raise KeyboardInterrupt

    rounds = core_rounds.Rounds(SimpleNamespace(score_columns=fail), admission, 8)
    for _ in range(2):
        admission.admit(1, admission.clock(), math.inf)
        admission.done()
        rounds.add(Columns({}, 16, list), lambda _: None)
    with pytest.raises(KeyboardInterrupt):
        ends.pop()()
    assert not admission.is_running
    assert not admission._held


def test_callers_are_told_when_the_model_fails(
    door: FrontDoor, case: Case, core: Core, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = infer(case, core, 20)
    expected = alone(door, whole)

    def fail(_: Any) -> Any:
        raise MemoryError

    with door.connect() as one, door.connect() as other:
        with monkeypatch.context() as patched:
            patched.setattr(core._predictor, "score_matrix", fail)
            with door.one_round():
                one.sendall(whole)
                other.sendall(whole)
            assert [one_response(connection)[0] for connection in (one, other)] == [500, 500]
        one.sendall(whole)
        assert one_response(one)[2] == expected


def test_caller_that_left_disturbs_no_other(door: FrontDoor, case: Case, core: Core) -> None:
    whole = infer(case, core, 20)
    expected = alone(door, whole)
    with door.connect() as stays:
        leaves = door.connect()
        # Else the close would be an orderly one.
        leaves.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        with door.one_round():
            leaves.sendall(whole)
            stays.sendall(whole)
            leaves.close()
        assert one_response(stays)[2] == expected


def test_answer_is_the_last_one_when_the_server_stops_meanwhile(case: Case, core: Core) -> None:
    with front_door(core) as door, door.connect() as one, door.connect() as other:
        with door.one_round():
            for connection in (one, other):
                connection.sendall(infer(case, core, 20))
            door.begin_to_stop()
        for connection in (one, other):
            ((status, _, _),) = responses(rest(connection))
            assert status == 200


def test_calls_of_one_read_are_scored_together(
    grpc: FrontDoor, case: Case, core: Core, scored: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http2, "TURN_S", 60.0)  # on a busy machine the first two calls take longer than a turn
    with Peer(grpc.port) as peer:
        assert peer.is_live(1)
        calls = [call_frames(stream, peer.block(INFER), many_rows(case, core, 20)) for stream in (3, 5, 7)]
        with grpc.one_round():
            peer.send(*calls[0], *calls[1], *calls[2], RstStreamFrame(3, error_code=8))
        for stream in (5, 7):
            assert chances(peer.answer(stream).message) == expected_chances(case, 20)
        assert peer.is_live(9)
    assert scored == [60]


def test_call_that_waits_is_answered_when_its_connection_fails(grpc: FrontDoor, case: Case, core: Core) -> None:
    with Peer(grpc.port) as peer:
        with grpc.one_round():
            peer.send(*call_frames(1, peer.block(INFER), many_rows(case, core, 20)), RstStreamFrame(99, error_code=8))
        assert chances(peer.answer(1).message) == expected_chances(case, 20)
        assert peer.until_gone() == "PROTOCOL_ERROR"


@dataclass
class Rounds:
    """Admission control on a clock that stands still but for the work that is done."""

    now: float = 100.0
    ends: list[Callable[[], None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.admission = Admission(0.2, Metrics("v"))
        self.admission.clock = lambda: self.now
        self.admission.call_soon = self.ends.append

    def read(self, size: int, rows: int) -> None:
        """Admit a request and do its first part, which takes 1 ms."""
        self.admission.admit(size, self.now, math.inf)
        self.now += 0.001
        self.admission.done()
        self.admission.withdraw()
        self.admission.hold(rows)

    def answer(self, seconds: float) -> None:
        """Answer the requests that wait, and end the round."""
        started = self.now
        self.now += seconds
        self.admission.release(started)
        self.ends.pop()()
        self.now += 1


def test_admission_counts_what_waits() -> None:
    rounds = Rounds()
    for _ in range(2):
        rounds.read(8000, 64)
        rounds.answer(0.039)
    rounds.read(8000, 64)
    with pytest.raises(OverloadedError):  # this round is 1 ms old, but the request that waits will take 39 more
        rounds.admission.admit(8000, rounds.now, math.inf)


def test_admission_shares_the_cost_of_a_round_by_rows() -> None:
    rounds = Rounds()
    rounds.read(2000, 16)
    rounds.read(30_000, 240)
    rounds.answer(0.032)  # 2 and 30 ms
    rounds.admission.admit(2000, rounds.now, 0.005)
    with pytest.raises(DeadlineError):
        rounds.admission.admit(30_000, rounds.now, 0.028)


def test_admission_learns_from_each_answer_when_a_round_is_scored_in_parts() -> None:
    clock, seconds, ends = [100.0], 0.02, []
    admission = Admission(4.0, Metrics("v"))
    admission.clock = lambda: clock[0]
    admission.call_soon = ends.append

    def score(requests: list[Columns]) -> Any:
        clock[0] += seconds
        return [None] * len(requests)

    predictor: Any = SimpleNamespace(score_columns=score)
    rounds = core_rounds.Rounds(predictor, admission, 8)

    def one_round() -> None:
        for _ in range(5):
            admission.admit(8000, clock[0], math.inf)
            admission.done()
            rounds.add(Columns({}, 200, list), lambda score: score())
        ends.pop()()
        clock[0] += 1

    one_round()
    seconds = 0.08  # the machine has become slower
    for _ in range(4):
        one_round()
    with pytest.raises(DeadlineError):  # 76 ms are expected after 20 answers
        admission.admit(8000, clock[0], 0.07)
