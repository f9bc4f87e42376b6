"""The drills in short: hostile requests against a real `bentoml serve`, slow and greedy callers beside good ones; what they find out."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
import urllib.request
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from bentos.core import Core
from drills.callers.good import Answers, ask
from drills.hostile import fuzzing
from drills.hostile.requests import CANARY
from harness import PROJECT, interpreter
from harness.ports import free_ports
from harness.processes import resident_mb
from tests.bentos.conftest import Case, Server
from tests.bentos.grpc.http2_peer import grpc_door
from tests.bentos.http.http_server import front_door, limited

KINDS = 21

client = pytest.mark.skipif(
    not interpreter("client").exists(), reason="`make .venv/client/installed.txt` makes its environment"
)


def beside(case: Case, http: int, grpc: int, program: str, *arguments: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What good callers found while a program of the drills ran against the same ports, and what that found."""
    command = [sys.executable, "-m", program, str(http), str(grpc), *arguments]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE) as attack:
        good = ask(Answers(case.bundle, rows=2), http, 50, 2)
        return good, json.loads(attack.communicate(timeout=60)[0])


def drill(case: Case, http: str, grpc: str, requests: int) -> tuple[int, dict[str, Any]]:
    command = [interpreter("client"), "-m", "drills.hostile.fuzz", case.bundle, "--http", http, "--grpc", grpc]
    command += ["--requests", str(requests), "--seed", "20"]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=240, check=False)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


class _Echo(BaseHTTPRequestHandler):
    """Answers with what it was sent: 500, or 200 where the body is a list of rows."""

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200 if content.startswith(b'{"rows"') else 500)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments: Any) -> None:
        pass


class _Constant(BaseHTTPRequestHandler):
    """Answers a row, whatever it is asked."""

    def do_GET(self) -> None:
        self._send(self.server.document)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self._send(self.server.answer)

    def _send(self, content: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments: Any) -> None:
        pass


@client
def test_no_hostile_request_is_a_failure_of_the_server_nor_in_its_log(server: Server, case: Case) -> None:
    code, found = drill(case, server.http, server.grpc, 2000)
    assert (found["failures"], code, found["pickle_ran"]) == ([], 0, False)
    protocols = {fault: {kind.rpartition(" ")[2] for kind in entry} for fault, entry in found["counts"].items()}
    assert all({"HTTP", "gRPC"} <= protocols[fault] for fault in ("0", "23", "24", "25", "26", "27"))
    kinds = {kind: sum(counts.values()) for entry in found["counts"].values() for kind, counts in entry.items()}
    assert (len(kinds), sum(kinds.values()), min(kinds.values()) > 50) == (KINDS, 2000, True)
    assert CANARY not in server.log.read_text()


@client
def test_server_that_fails_or_repeats_values_is_found_out(case: Case) -> None:
    (nobody,) = free_ports(1)
    with ThreadingHTTPServer(("127.0.0.1", 0), _Echo) as echo:
        threading.Thread(target=echo.serve_forever, daemon=True).start()
        code, found = drill(case, f"127.0.0.1:{echo.server_port}", f"127.0.0.1:{nobody}", 80)
        echo.shutdown()
    assert code == 1
    wrong = " ".join(failure["wrong"] for failure in found["failures"])
    assert all(
        text in wrong for text in ("500, not one of", "200, not one of", "UNAVAILABLE", "a value of the request")
    )


def run_properties(case: Case, http: str, grpc: str, examples: int) -> subprocess.CompletedProcess[str]:
    command = [interpreter("client"), "-m", "drills.hostile.properties", case.bundle, "--http", http, "--grpc", grpc]
    command += ["--examples", str(examples)]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)


@client
def test_properties_hold_for_what_hypothesis_makes(server: Server, case: Case) -> None:
    done = run_properties(case, server.http, server.grpc, 40)
    found = json.loads(done.stdout)
    assert (done.returncode, found["failed"]) == (0, {})
    assert min(found["requests"].values()) >= 40


@client
def test_properties_that_do_not_hold_are_found_out(server: Server, case: Case, tmp_path: Path) -> None:
    """Asked at the port of a server that has learned nothing of the rows that it is sent."""
    document = urllib.request.urlopen(f"http://{server.http}/docs.json").read()
    with ThreadingHTTPServer(("127.0.0.1", 0), _Constant) as constant:
        constant.document, constant.answer = document, json.dumps({"predictions": case.answers[:1]}).encode()
        threading.Thread(target=constant.serve_forever, daemon=True).start()
        done = run_properties(case, f"127.0.0.1:{constant.server_port}", server.grpc, 10)
        constant.shutdown()
    assert done.returncode == 1
    assert len(json.loads(done.stdout)["failed"]) == 4  # it answers whatever it is asked, and that is one of the five


@pytest.mark.skipif(not (fuzzing.ATHERIS / "atheris").is_dir(), reason="atheris has wheels for Linux on x86-64 alone")
@pytest.mark.parametrize("target", fuzzing.RUNS)
def test_bytes_of_callers_are_refused_or_answered(case: Case, target: str) -> None:
    done = fuzzing.run_target(case.bundle, target, 2000)
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout)["runs"] == 2000


def check_answered(good: dict[str, Any]) -> None:
    """A machine that keeps the server from its core makes it refuse some; the drills, which want a machine of their own, allow for none."""
    refused = good["outcomes"].get("503", 0)
    assert good["asked"] > 60
    assert good["failed"] == refused <= good["asked"] / 4, good["outcomes"]


def test_good_callers_are_answered_while_slow_ones_hold_hundreds_of_connections(
    core: Core, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited(core, monkeypatch, head_timeout_s=1.0, body_timeout_s=1.5)
    with front_door(core) as door, grpc_door(core) as grpc:
        numbers = ["--http", "100", "--grpc", "50", "--seconds", "7"]
        good, slow = beside(case, door.port, grpc.port, "drills.callers.slow", *numbers)
    check_answered(good)
    for kind, seen in slow.items():
        count = 100 if kind.startswith("HTTP") else 50
        assert (seen["opened"] >= 2 * count, seen["ended"] >= count, seen["otherwise"]) == (True, True, 0), kind


def test_slow_callers_that_nobody_ends_are_found_out(core: Core, case: Case) -> None:
    with front_door(core) as door, grpc_door(core) as grpc:
        numbers = ["--http", "1", "--grpc", "1", "--seconds", "3"]
        _, slow = beside(case, door.port, grpc.port, "drills.callers.slow", *numbers)
    assert all((seen["ended"], seen["longest_s"] > 1.5) == (0, True) for seen in slow.values())


def test_good_callers_are_answered_while_others_send_without_end(server: Server, case: Case) -> None:
    before = resident_mb(server.process.pid)
    http, grpc = (int(address.rpartition(":")[2]) for address in (server.http, server.grpc))
    good, greedy = beside(case, http, grpc, "drills.callers.greedy", "--seconds", "1")
    check_answered(good)
    assert all((seen["wrong"], seen["callers"] > 0) == (0, True) for seen in greedy.values()), greedy
    assert max(seen["most_sent_bytes"] for seen in greedy.values()) < 96 * 2**20
    assert resident_mb(server.process.pid) < 1.1 * before


def test_answers_that_are_not_the_golden_ones_are_found_out(case: Case) -> None:
    answers = Answers(case.bundle, rows=1)
    right = {"model": {"name": "x", "version": case.version}, "predictions": case.answers[:1]}
    asked = answers.requests[0]
    assert answers.is_right(asked, json.dumps(right).encode())
    assert not answers.is_right(asked, json.dumps({**right, "predictions": case.answers[1:2]}).encode())
    assert not answers.is_right(asked, json.dumps({**right, "model": {"version": "another"}}).encode())


def close_all(listening: socket.socket) -> None:
    """Whoever comes, until nobody may come any more."""
    with suppress(OSError):
        while True:
            listening.accept()[0].close()


def test_requests_that_have_no_right_answer_are_counted(case: Case) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Constant) as constant:
        constant.answer = json.dumps({"model": {"version": case.version}, "predictions": case.answers[:1]}).encode()
        threading.Thread(target=constant.serve_forever, daemon=True).start()
        found = ask(Answers(case.bundle, rows=1), constant.server_port, 100, 0.3)
        constant.shutdown()
    assert 0 < found["failed"] < found["asked"]
    assert found["outcomes"].keys() == {"200", "wrong"}
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        closing = threading.Thread(target=close_all, args=(listening,))
        closing.start()
        found = ask(Answers(case.bundle, rows=1), port, 100, 0.3)
        listening.shutdown(socket.SHUT_RDWR)
        closing.join()
    assert found["asked"] == found["failed"] > 10
