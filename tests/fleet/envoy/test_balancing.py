"""How Envoy shares requests: around a replica that fails, and by a caller's key beside a canary."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path

import grpc
import pytest

from contract.prediction_log.settings import SHADOW_HEADER
from fleet.configuration.state import Canary, Replica, State, socket_of
from fleet.envoy import routes
from fleet.envoy.clusters import cluster_name
from fleet.envoy.outliers import Endpoint, Outliers
from fleet.envoy.proxy import admin_socket
from fleet.supervisor import unix_http
from harness.waiting import until
from tests.fleet.envoy.conftest import Ports, Start, proxy_at
from tests.fleet.envoy.stand_ins import INFER, StandIn, serving

OLD, NEW = "a" * 64, "b" * 64
TWO = State(size=2, live=OLD, replicas=(Replica("one", OLD, 0), Replica("two", OLD, 0)))
REQUESTS = 600
LONG = bytes(5 << 20)
KEYS = [f"Bearer {number:032x}" for number in range(400)]


class Callers:
    """One connection over each protocol."""

    def __init__(self, ports: Ports) -> None:
        self._http = HTTPConnection("127.0.0.1", ports[0], timeout=30)
        self._channel = grpc.insecure_channel(f"127.0.0.1:{ports[1]}")

    def http(self, key: str = "", body: bytes = b"{}", **headers: str) -> str:
        """Who answered, or the status of the failure."""
        self._http.request("POST", "/predict", body, headers | ({"authorization": key} if key else {}))
        response = self._http.getresponse()
        body = response.read().decode()
        return body if response.status == 200 else str(response.status)

    def grpc(self, key: str = "", body: bytes = b"", **headers: str) -> str:
        """Who answered, or the status of the failure."""
        try:
            metadata = (*headers.items(), *((("authorization", key),) if key else ()))
            return str(self._channel.unary_unary(INFER)(body, metadata=metadata, timeout=30).decode())
        except grpc.RpcError as error:
            return str(error.code().name)

    def close(self) -> None:
        self._http.close()
        self._channel.close()


def called(start: Start, state: State, root: Path) -> Iterator[tuple[Callers, list[StandIn]]]:
    with ExitStack() as stack:
        stand_ins = [stack.enter_context(serving(replica.name, root)) for replica in state.replicas]
        callers = Callers(start(state, root))
        stack.callback(callers.close)
        until(lambda: callers.http() in ("one", "two") and callers.grpc() in ("one", "two"), "Envoy to reach them")
        yield callers, stand_ins


@pytest.fixture
def two(start: Start, root: Path) -> Iterator[tuple[Callers, list[StandIn]]]:
    """Callers of two replicas of the live bundle."""
    yield from called(start, TWO, root)


@pytest.fixture
def generous(start: Start, root: Path) -> Iterator[tuple[Callers, list[StandIn]]]:
    """The same of a bundle that allows bodies of 6 MiB."""
    artifact = root / "bundles" / OLD / "src" / "bundle"
    artifact.mkdir(parents=True)
    (artifact / "limits.json").write_text(json.dumps({"body_limit_bytes": 6 << 20}))
    yield from called(start, TWO, root)


def test_long_body_is_passed_on_and_tried_again_when_the_bundle_allows_it(
    generous: tuple[Callers, list[StandIn]],
) -> None:
    callers, stand_ins = generous
    assert callers.http(body=LONG) in ("one", "two")
    assert callers.grpc(body=LONG) in ("one", "two")
    for stand_in in stand_ins:
        stand_in.fails = True
        stand_in.requests.clear()
    assert (callers.http(body=LONG), callers.grpc(body=LONG)) == ("500", "INTERNAL")
    asked = sum((stand_in.requests for stand_in in stand_ins), Counter())
    assert min(asked["http"], asked["grpc"]) > 1  # it was kept for the second one
    assert callers.http(body=bytes(13 << 20)) == "413"


def test_envoy_takes_the_largest_limits_that_a_bundle_may_have(start: Start, root: Path) -> None:
    artifact = root / "bundles" / OLD / "src" / "bundle"
    artifact.mkdir(parents=True)
    most = dict.fromkeys(("body_limit_bytes", "head_limit_bytes", "head_limit_count"), 1 << 40)
    (artifact / "limits.json").write_text(json.dumps(most | {"latency_budget_s": 3599.0, "body_timeout_s": 3599.0}))
    with contextmanager(called)(start, TWO, root) as (callers, _):
        assert callers.http(body=LONG) in ("one", "two")


def test_upgrade_is_ignored_and_many_metadata_are_left_to_the_server(two: tuple[Callers, list[StandIn]]) -> None:
    callers, _ = two
    assert callers.http(**{"connection": "upgrade", "upgrade": "websocket"}) in ("one", "two")
    assert callers.grpc(**{f"x-{number}": "" for number in range(300)}) in ("one", "two")


def test_target_that_is_no_path_is_not_found(start: Start, root: Path) -> None:
    http_port, _ = start(State(live=OLD, replicas=TWO.replicas), root)
    connection = HTTPConnection("127.0.0.1", http_port, timeout=30)
    connection.request("OPTIONS", "*")
    response = connection.getresponse()
    assert (response.status, json.loads(response.read())["error"]["code"]) == (404, "not_found")
    connection.close()


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_request_waits_when_all_replicas_are_away_for_seconds(
    start: Start, root: Path, protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tried far more often than it takes a replica on an idle machine to be back; here for longer, as on a busy one that takes."""
    assert routes.TRIES > 30
    monkeypatch.setattr(routes, "TRIES", 10 * routes.TRIES)
    monkeypatch.setattr(routes, "REQUEST_TIMEOUT_S", 3 * routes.REQUEST_TIMEOUT_S)
    with ExitStack() as stack, ExitStack() as away:
        pool = stack.enter_context(ThreadPoolExecutor(1))
        for replica in TWO.replicas:
            away.enter_context(serving(replica.name, root))
        callers = Callers(start(TWO, root))
        stack.callback(callers.close)
        ask = callers.http if protocol == "http" else callers.grpc
        until(lambda: ask() in ("one", "two"), "Envoy to reach them")
        away.close()
        before = tries(root, protocol)
        asked = pool.submit(ask)
        until(lambda: tries(root, protocol) > before + 15, "it to be tried again and again")
        assert not asked.done()
        with serving("one", root):
            assert asked.result(60) == "one"


def tries(root: Path, protocol: str) -> int:
    """How many requests Envoy has sent again."""
    name = f"cluster.{cluster_name(protocol, OLD)}.upstream_rq_retry"
    _, text = unix_http.ask(admin_socket(root, 0), "GET", f"/stats?filter={name}$", limit_s=10)
    return int(text.decode().rpartition(": ")[2] or 0)


def test_no_request_fails_when_one_of_two_replicas_answers_500_to_all(two: tuple[Callers, list[StandIn]]) -> None:
    callers, (one, _) = two
    one.fails = True
    one.requests.clear()
    assert Counter(callers.http() for _ in range(REQUESTS)) == {"two": REQUESTS}
    assert Counter(callers.grpc() for _ in range(REQUESTS)) == {"two": REQUESTS}
    # Ejected after five failures, for a second each time: it did not get half of the requests.
    assert 0 < one.requests["http"] < REQUESTS / 4
    assert 0 < one.requests["grpc"] < REQUESTS / 4


def test_replica_that_recovers_is_asked_again(two: tuple[Callers, list[StandIn]]) -> None:
    callers, (one, _) = two
    one.fails = True
    assert Counter(callers.http() for _ in range(50)) == {"two": 50}
    one.fails = False
    until(lambda: callers.http() == "one", "the replica to be back")


def test_request_that_no_replica_can_answer_takes_none_out_of_rotation(two: tuple[Callers, list[StandIn]]) -> None:
    callers, both = two
    for each in both:
        each.fails = True
        each.requests.clear()
    assert [callers.http(), callers.grpc()] == ["500", "INTERNAL"]
    assert sum((each.requests for each in both), Counter()) == {"http": 3, "grpc": 3}  # tries
    for each in both:
        each.fails = False
    assert {callers.http() for _ in range(20)} <= {"one", "two"}


def test_errors_after_the_first_metadata_are_seen_in_the_replicas_counts(
    two: tuple[Callers, list[StandIn]], root: Path
) -> None:
    callers, (one, _) = two
    one.late = True
    # Envoy has passed the metadata on by then, so these calls fail; a replica that goes on so is replaced.
    assert set(Counter(callers.grpc() for _ in range(REQUESTS))) == {"two", "INTERNAL"}
    endpoints = [Endpoint(replica.name, 1, OLD, "grpc") for replica in TWO.replicas]
    outliers = Outliers()

    def found() -> bool:
        hosts = proxy_at(root, (0, 0)).hosts()
        seen = {each: hosts[cluster_name("grpc", OLD), socket_of("grpc", each.name, root)] for each in endpoints}
        names = outliers.look(seen, time.monotonic())
        assert set(names) <= {"one"}
        for _ in range(50):
            callers.grpc()
        return names == ["one"]

    until(found, "the replica to be named")


def test_shadow_gets_a_copy_of_each_request_and_its_failures_reach_no_caller(start: Start, root: Path) -> None:
    replicas = (Replica("one", OLD, 0), Replica("two", NEW, 0))
    with ExitStack() as stack:
        live, shadow = (stack.enter_context(serving(replica.name, root)) for replica in replicas)
        callers = Callers(start(State(size=1, live=OLD, shadow=NEW, replicas=replicas), root))
        stack.callback(callers.close)
        until(lambda: (callers.http(), callers.grpc()) == ("one", "one") and len(shadow.named) > 1, "a copy of each")
        shadow.fails = True
        for each in (live, shadow):
            each.named.clear()
        assert {callers.http() for _ in range(50)} | {callers.grpc() for _ in range(50)} == {"one"}
        assert len(set(live.named)) == 100  # a name of its own for each, and no caller's
        # Copies of earlier requests may still have come.
        until(lambda: set(live.named) <= set(shadow.named), "the copies")


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_shadow_gets_its_share_of_each_sides_requests_and_only_those_have_a_name(
    start: Start, root: Path, protocol: str
) -> None:
    replicas = (Replica("one", OLD, 0), Replica("two", NEW, 0), Replica("three", "c" * 64, 0))
    state = State(size=1, live=OLD, canary=Canary(NEW, 50), shadow="c" * 64, mirror_percent=50, replicas=replicas)
    with ExitStack() as stack:
        *both, shadow = (stack.enter_context(serving(replica.name, root)) for replica in replicas)
        callers = Callers(start(state, root))
        stack.callback(callers.close)
        ask = getattr(callers, protocol)
        until(lambda: {ask() for _ in range(100)} == {"one", "two"} and len(shadow.named) > 1, "requests to reach all")
        before = {name for each in both for name in each.named}
        for each in both:
            each.named.clear()
        answers = Counter(ask(**{SHADOW_HEADER: "of a caller"}) for _ in range(REQUESTS))
        for each in both:
            # Five standard deviations of the binomial distribution.
            assert abs(len(each.named) - answers[each.name] / 2) < 5 * (answers[each.name] / 4) ** 0.5
        named = [name for each in both for name in each.named]
        assert len({*named, "of a caller"}) == len(named) + 1
        until(lambda: {*shadow.named} - before == {*named}, "their copies, and no others")


def sides(ask: Callable[[str], str]) -> dict[str, str]:
    """Who answers each key."""
    return {key: ask(key) for key in KEYS}


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_caller_stays_on_one_side_and_moves_one_way_when_the_share_grows(
    start: Start, root: Path, protocol: str
) -> None:
    replicas = (Replica("one", OLD, 0), Replica("two", NEW, 0))
    state = State(size=1, live=OLD, canary=Canary(NEW, 5), sticky="header", replicas=replicas)
    before: set[str] = set()
    with ExitStack() as stack:
        for replica in replicas:
            stack.enter_context(serving(replica.name, root))
        ports = start(state, root)
        callers = Callers(ports)
        stack.callback(callers.close)
        ask = getattr(callers, protocol)
        until(lambda: {ask() for _ in range(100)} == {"one", "two"}, "requests without a key to reach both")
        for percent in (5, 25, 60):
            proxy_at(root, ports).route(replace(state, canary=Canary(NEW, percent)))
            # Envoy says that it has the routes when its main thread has them; its workers follow.
            until(lambda: sides(ask) == sides(ask), "every caller to stay where it is")
            moved = {key for key, side in sides(ask).items() if side == "two"}
            assert before <= moved
            # Five standard deviations of the binomial distribution.
            share = percent / 100
            assert abs(len(moved) - len(KEYS) * share) < 5 * (len(KEYS) * share * (1 - share)) ** 0.5
            before = moved
