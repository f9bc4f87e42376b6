"""The conformance suite (`python -m tests.oip`) and schemathesis find nothing in this server; in a wrong one the suite finds it."""

from __future__ import annotations

import json
import re
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from bentos.protocols.oip.kinds import DATATYPES
from contract.bundle import manifest
from harness import PROJECT, interpreter
from harness.ports import free_ports
from tests.bentos.conftest import Case, Server

TENSOR = {"name": "x", "datatype": "FP64", "shape": [1]}
METADATA = {"name": "m", "versions": ["1"], "platform": "onnx_onnxv1", "inputs": [TENSOR], "outputs": [TENSOR]}
INFERENCE = {"model_name": "m", "model_version": "1", "outputs": [{**TENSOR, "data": [1]}]}

pytestmark = pytest.mark.skipif(
    not interpreter("client").exists(), reason="`make .venv/client/installed.txt` makes its environment"
)


def conformance(*options: str) -> subprocess.CompletedProcess[str]:
    command = [interpreter("client"), "-m", "tests.oip", *options]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=120, check=False)


class _Yes(BaseHTTPRequestHandler):
    """Says yes to everything: the same good answer to every request for an inference, whatever is in it."""

    def answer(self, value: dict[str, Any]) -> None:
        content = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_GET(self) -> None:
        self.answer(METADATA)

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(INFERENCE)

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture
def yes() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Yes) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def model(case: Case) -> str:
    return str(json.loads((case.bundle / manifest.FILE_NAME).read_bytes())["name"])


def test_every_clause_is_kept_over_http_and_grpc(server: Server, model: str) -> None:
    done = conformance("--http", f"http://{server.http}", "--grpc", server.grpc, "--model", model, "--json")
    assert done.returncode in (0, 1), done.stderr
    checks = json.loads(done.stdout)["checks"]
    assert [check for check in checks if check["verdict"] != "PASS"] == []
    assert len(checks) > 80
    assert done.returncode == 0


def test_server_is_judged_over_grpc_alone_with_the_request_that_was_given(
    server: Server, case: Case, model: str, tmp_path: Path
) -> None:
    row = {name: value for name, value in case.row.items() if value is not None}
    datatypes = {field.name: DATATYPES[field.kind] for field in case.schema.fields}
    inputs = [{"name": n, "datatype": datatypes[n], "shape": [1], "data": [value]} for n, value in row.items()]
    example = tmp_path / "request.json"
    example.write_text(json.dumps({"inputs": inputs}))
    done = conformance("--grpc", server.grpc, "--model", model, "--example", str(example))
    assert done.returncode == 0, done.stdout
    assert re.search(r"\ngRPC +2\d +0 +2\n", done.stdout), done.stdout[-800:]


def test_no_request_made_from_the_openapi_document_is_a_failure_of_the_server(server: Server, tmp_path: Path) -> None:
    checks = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
    command = [interpreter("client").with_name("schemathesis"), "run", f"http://{server.http}/docs.json", "--no-color"]
    command += ["--phases", "coverage,fuzzing", "--max-examples", "20", "--seed", "1", "--checks", checks]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert int(re.findall(r"(\d+) generated", done.stdout)[0]) > 200


def test_server_that_takes_everything_fails_where_it_should_have_refused(yes: str) -> None:
    done = conformance("--http", yes, "--model", "m", "--json")
    assert done.returncode == 1
    checks = json.loads(done.stdout)["checks"]
    due = [check for check in checks if check["says"].endswith("an HTTP error with an error object")]
    kept = [check["says"] for check in due if check["verdict"] == "PASS"]
    assert (len(due) > 20, kept) == (True, [])
    ids = [
        check["verdict"]
        for check in checks
        if check["specification"] == "REST" and check["says"].startswith("an id is")
    ]
    assert ids == ["FAIL"] * len(ids)
    assert {check["verdict"] for check in checks if check["specification"] == "gRPC"} == {"NOT OFFERED"}


def test_reason_is_given_when_there_is_nothing_to_ask(yes: str, server: Server) -> None:
    (port,) = free_ports(1)
    nobody = conformance("--http", f"http://127.0.0.1:{port}", "--model", "m")
    assert (nobody.returncode, "does not answer" in nobody.stderr) == (75, True)
    unnamed = conformance("--grpc", server.grpc)
    assert (unnamed.returncode, "--model" in unnamed.stderr) == (64, True)
