"""The drill of hostile requests in short, against a real `bentoml serve`; and against a server that is wrong in every answer."""

from __future__ import annotations

import json
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from drills.hostile import CANARY
from tests.bentos.conftest import Case, Server
from tests.ports import free_ports

ROOT = Path(__file__).parents[2]
CLIENT_PYTHON = ROOT / ".venv" / "client" / "bin" / "python"
KINDS = 21

pytestmark = pytest.mark.skipif(
    not CLIENT_PYTHON.exists(), reason="`make .venv/client/installed.txt` makes its environment"
)


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


def test_no_hostile_request_is_a_failure_of_the_server_nor_in_its_log(server: Server, case: Case) -> None:
    code, found = drill(case, server.http, server.grpc, 2000)
    assert (found["failures"], code, found["pickle_ran"]) == ([], 0, False)
    kinds = {kind: sum(counts.values()) for entry in found["counts"].values() for kind, counts in entry.items()}
    assert (len(kinds), sum(kinds.values()), min(kinds.values()) > 50) == (KINDS, 2000, True)
    assert CANARY not in server.log.read_text()


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
