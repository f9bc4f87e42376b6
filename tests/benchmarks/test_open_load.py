"""The open-loop generator: when it sends, what it takes for an outcome, and that nothing of what it was to send goes missing."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from harness import interpreter, servers
from harness.load import closed_loop, generators, open_loop
from harness.load.open_loop import OpenJob, OpenOutcome
from harness.ports import free_ports
from tests.benchmarks.test_load import needs_servers

REQUEST = closed_loop.request("/predict", b"{}")
ANSWER = b"HTTP/1.1 %b X\r\nContent-Length: 2\r\n\r\n{}"


def test_arrivals_are_a_poisson_process_of_one_seed() -> None:
    times = open_loop.arrivals(1000, 20, seed=3)
    assert times == open_loop.arrivals(1000, 20, seed=3) == sorted(times)
    assert times[-1] < 20
    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    mean = sum(gaps) / len(gaps)
    assert mean == pytest.approx(1e-3, rel=0.05)
    # of an exponential distribution, and of no regular clock, the deviation equals the mean
    assert (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5 == pytest.approx(mean, rel=0.05)


def test_outcomes_are_statuses() -> None:
    statuses = iter([b"200", b"503"] * 50)
    with _serving(lambda _: ANSWER % next(statuses)) as port:
        outcome = _ask(port, rate=500, seconds=0.1, max_connections=1)
    assert set(outcome.latencies_ms) == {"200", "503"}
    assert sum(map(len, outcome.latencies_ms.values())) == outcome.sent > 10
    assert not outcome.lost


def test_what_waits_for_a_connection_counts_from_when_it_was_to_be_sent() -> None:
    def slow(_: bytes) -> bytes:
        time.sleep(0.02)
        return ANSWER % b"200"

    with _serving(slow) as port:
        outcome = _ask(port, rate=200, seconds=0.1, max_connections=1)
    latencies = outcome.latencies_ms["200"]
    assert len(latencies) == outcome.sent
    assert max(latencies) > 20 * outcome.sent - 120  # the last one waited for all others; the run itself took 100 ms


def test_a_broken_connection_loses_what_was_under_way_and_no_more() -> None:
    turns = iter(range(1000))
    with _serving(lambda _: b"" if next(turns) % 3 == 2 else ANSWER % b"200") as port:
        outcome = _ask(port, rate=300, seconds=0.1, max_connections=1)
    assert outcome.lost == outcome.sent // 3 > 0
    assert outcome.count("200") == outcome.sent - outcome.lost
    assert outcome.connections == 1 + outcome.lost - (outcome.sent % 3 == 0)


def test_warm_up_is_not_counted() -> None:
    with _serving(lambda _: ANSWER % b"200") as port:
        job = OpenJob(port, generators.encode([REQUEST]), 1, rate=500, seconds=0.2, warm_up_s=0.1, max_connections=1)
        outcome = open_loop.measure(job, [REQUEST])
    times = open_loop.arrivals(500, 0.2, seed=1)
    assert outcome.count("200") == outcome.sent == len([each for each in times if each >= 0.1]) < len(times)


def test_silence_is_a_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_loop, "_PATIENCE_S", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        outcome = _ask(listener.getsockname()[1], rate=100, seconds=0.1, max_connections=8)
    assert outcome.lost == outcome.sent > 0


@needs_servers
def test_calls_that_get_a_message_are_told_from_those_that_are_refused(tmp_path: Path) -> None:
    with servers.grpc_hello(tmp_path) as server:
        job = OpenJob(server.grpc_port, generators.encode([b"anything", b"x" * 40_000]), server.pid, 400, 1, "grpc")
        outcome = open_loop.run(job)
    assert outcome.count("OK") == outcome.sent > 100
    assert not outcome.lost
    assert outcome.connections < outcome.sent  # they are used again; how many there are depends on the machine
    assert outcome.cpu_s > 0


@needs_servers
def test_a_call_without_a_message_was_refused(tmp_path: Path) -> None:
    bare = _bare_grpc(tmp_path)
    with bare as server:
        outcome = open_loop.run(OpenJob(server.grpc_port, generators.encode([b""]), server.pid, 200, 0.2, "grpc"))
    assert outcome.count("refused") == outcome.sent > 10


@contextmanager
def _bare_grpc(scratch: Path) -> Iterator[servers.Server]:
    """A gRPC server that has no method at all."""
    (port,) = free_ports(1)
    program = f"""
import concurrent.futures, grpc
server = grpc.server(concurrent.futures.ThreadPoolExecutor(1))
server.add_insecure_port("127.0.0.1:{port}")
server.start()
server.wait_for_termination()
"""
    command = [str(interpreter("client")), "-c", program]
    with servers.started(
        "no-method", command, servers.clean_environment(), scratch, port, cwd=scratch, grpc_port=port
    ) as server:
        yield server


def _ask(port: int, *, rate: float, seconds: float, max_connections: int) -> OpenOutcome:
    job = OpenJob(port, generators.encode([REQUEST]), 1, rate, seconds, max_connections=max_connections)
    return open_loop.measure(job, [REQUEST])


@contextmanager
def _serving(answer: Callable[[bytes], bytes]) -> Iterator[int]:
    """A server of one connection at a time that answers each request, or hangs up where there is no answer."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=_serve, args=(listener, answer), daemon=True).start()
        yield listener.getsockname()[1]


def _serve(listener: socket.socket, answer: Callable[[bytes], bytes]) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection, suppress(ConnectionResetError):
            while request := connection.recv(1 << 16):
                response = answer(request)
                if not response:
                    break
                connection.sendall(response)
