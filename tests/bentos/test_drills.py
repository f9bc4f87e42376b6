"""The drills in short: hostile requests against a real `bentoml serve`, slow and greedy callers beside good ones; what they find out."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from bentos.core import Core
from drills.hostile import CANARY
from drills.open_loop import Answers, OpenLoop
from drills.under_load import resident_mb
from tests.bentos.conftest import Case, Server
from tests.bentos.http_server import front_door, limited
from tests.ports import free_ports

ROOT = Path(__file__).parents[2]
CLIENT_PYTHON = ROOT / ".venv" / "client" / "bin" / "python"
KINDS = 21

client = pytest.mark.skipif(
    not CLIENT_PYTHON.exists(), reason="`make .venv/client/installed.txt` makes its environment"
)


def beside(case: Case, port: int, program: str, *arguments: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What good callers found while a program of the drills ran against the same port, and what that found."""
    command = [sys.executable, "-m", program, str(port), *arguments]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as attack:
        good = OpenLoop(Answers(case.bundle, rows=2), port).run(50, 2)
        return good, json.loads(attack.communicate(timeout=60)[0])


def drill(case: Case, http: str, grpc: str, requests: int) -> tuple[int, dict[str, Any]]:
    command = [CLIENT_PYTHON, "-m", "drills.fuzz", case.bundle, "--http", http, "--grpc", grpc]
    command += ["--requests", str(requests), "--seed", "20"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
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


@client
def test_no_hostile_request_is_a_failure_of_the_server_nor_in_its_log(server: Server, case: Case) -> None:
    code, found = drill(case, server.http, server.grpc, 2000)
    assert (found["failures"], code, found["pickle_ran"]) == ([], 0, False)
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


def test_good_callers_are_answered_while_slow_ones_hold_hundreds_of_connections(
    core: Core, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited(core, monkeypatch, head_timeout_s=0.5, body_timeout_s=1.0)
    with front_door(core) as door:
        numbers = ["--heads", "150", "--bodies", "150", "--seconds", "2.5"]
        good, slow = beside(case, door.port, "drills.slow_callers", *numbers)
    assert (good["asked"], good["failed"], good["wrong"]) == (100, 0, [])
    for kind in ("heads", "bodies"):
        assert (slow[kind]["opened"] >= 300, slow[kind]["ended"] >= 150, slow[kind]["otherwise"]) == (True, True, 0)


def test_slow_callers_that_nobody_ends_are_found_out(core: Core, case: Case) -> None:
    with front_door(core) as door:
        _, slow = beside(case, door.port, "drills.slow_callers", "--heads", "1", "--bodies", "1", "--seconds", "2")
    assert (slow["heads"]["ended"], slow["heads"]["longest_s"] > 1.5) == (0, True)


def test_good_callers_are_answered_while_others_send_without_end(server: Server, case: Case) -> None:
    before = resident_mb(server.process.pid)
    good, greedy = beside(case, int(server.http.rpartition(":")[2]), "drills.greedy_callers", "--seconds", "1")
    assert (good["asked"], good["failed"], good["wrong"]) == (100, 0, [])
    assert {kind: (seen["wrong"], seen["callers"] > 0) for kind, seen in greedy.items()} == dict.fromkeys(
        greedy, (0, True)
    )
    assert max(seen["most_sent_bytes"] for seen in greedy.values()) < 32 * 2**20
    assert resident_mb(server.process.pid) < 1.1 * before


def test_answers_that_are_not_the_golden_ones_are_found_out(case: Case) -> None:
    answers = Answers(case.bundle, rows=1)
    right = {"model": {"name": "x", "version": case.version}, "predictions": case.answers[:1]}

    def response(value: Any) -> bytes:
        return b"HTTP/1.1 200 OK\r\n\r\n" + json.dumps(value).encode()

    assert answers.is_right(0, response(right))
    assert not answers.is_right(0, response({**right, "predictions": case.answers[1:2]}))
    assert not answers.is_right(0, response({**right, "model": {"version": "another"}}))


def test_requests_that_nobody_answers_are_counted(case: Case) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        threading.Thread(target=lambda: [listening.accept()[0].close() for _ in range(10)], daemon=True).start()
        found = OpenLoop(Answers(case.bundle, rows=1), port).run(100, 0.1)
    assert (found["asked"], found["failed"]) == (10, 10)
