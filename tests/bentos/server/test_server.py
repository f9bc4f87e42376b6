"""A real `bentoml serve` of the bundle, spoken to by curl, tritonclient and raw sockets."""

from __future__ import annotations

import json
import queue
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from prometheus_client.parser import text_string_to_metric_families

from bentos.protos import health_pb2
from contract.bundle import manifest
from harness import PROJECT, interpreter, processes
from harness.ports import free_ports
from harness.waiting import until
from tests.bentos.conftest import Case, Server, start_server

SECRET = "kilroy-was-here"


def curl(server: Server, path: str, *options: str, body: bytes | None = None) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body as curl saw them."""
    data = ["--data-binary", "@-"] if body is not None else []
    done = subprocess.run(
        ["curl", "--silent", "--show-error", "--include", "--max-time", "30", *options, *data, f"{server.http}{path}"],
        input=body,
        capture_output=True,
        check=False,
    )
    head, _, content = done.stdout.partition(b"\r\n\r\n")
    while head.startswith(b"HTTP/1.1 100"):
        head, _, content = content.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    assert status, done.stderr
    return (
        int(status.split()[1]),
        {key.lower(): value for key, value in (line.split(": ", 1) for line in lines)},
        content,
    )


def post_json(server: Server, value: Any, path: str = "/predict") -> tuple[int, dict[str, str], bytes]:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return curl(server, path, "-H", "Content-Type: application/json", body=body)


@pytest.fixture(scope="module")
def triton(server: Server, case: Case, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What tritonclient got, over HTTP and gRPC, for the golden rows."""
    if not interpreter("client").exists():
        pytest.skip(f"{interpreter('client')} is not there; `make .venv/client/installed.txt` makes it")
    job = tmp_path_factory.mktemp("triton") / "job.json"
    model = json.loads((case.bundle / manifest.FILE_NAME).read_bytes())["name"]
    fields = {field.name: field.kind for field in case.schema.fields}
    job.write_text(
        json.dumps(
            {
                "http": server.http,
                "grpc": server.grpc,
                "model": model,
                "version": case.version,
                "fields": fields,
                "rows": case.rows,
            }
        )
    )
    done = subprocess.run(
        [interpreter("client"), Path(__file__).parents[1] / "clients" / "triton_client.py", job],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    result: dict[str, Any] = json.loads(done.stdout)
    return result


# ---- the same answers over every way in ----


def test_golden_answers_are_equal_bit_for_bit_over_every_way_in(
    server: Server, case: Case, triton: dict[str, Any]
) -> None:
    status, headers, content = post_json(server, {"rows": case.rows})
    assert (status, headers["x-model-version"]) == (200, case.version)
    assert json.loads(content)["predictions"] == case.answers
    expected = {
        "probability": [entry["probability"].hex() for entry in case.answers],
        "label": [entry["label"] for entry in case.answers],
        "version": case.version,
    }
    http, grpc_ = triton["http"], triton["grpc"]
    assert http["json"] == http["binary"] == http["default"] == grpc_["raw"] == expected
    assert http["compressed"] == grpc_["compressed"] == [expected, expected]


def test_tritonclient_finds_server_and_model(triton: dict[str, Any], case: Case) -> None:
    names = [field.name for field in case.schema.fields]
    for way in ("http", "grpc"):
        answer = triton[way]
        assert (answer["live"], answer["ready"]) == (True, True)
        assert answer["server"]["extensions"] == ["binary_tensor_data", "model_configuration", "model_repository"]
        assert answer["metadata"]["versions"] == [case.version]
        assert [entry["name"] for entry in answer["metadata"]["inputs"]] == names
        assert [entry["name"] for entry in answer["config"]["input"]] == names
        (entry,) = answer["index"]
        assert (entry["version"], entry["state"]) == (case.version, "READY")
    assert triton["http"]["wrong_model_ready"] is False
    assert triton["grpc"]["one_output"] == ["label"]


def test_one_process_holds_both_ports_on_the_host_that_was_asked_for(server: Server) -> None:
    (worker,) = server.workers
    inodes = set()
    for link in Path(f"/proc/{worker}/fd").iterdir():
        if match := re.match(r"socket:\[(\d+)]", str(link.readlink())):
            inodes.add(match[1])
    listening = {}
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/{worker}/net/{table}").read_text().splitlines()[1:]:
            columns = line.split()
            if columns[3] == "0A" and columns[9] in inodes:
                host, _, port = columns[1].rpartition(":")
                listening[int(port, 16)] = host
    for address in (server.http, server.grpc):
        assert listening[int(address.rpartition(":")[2])].endswith("0100007F")  # 127.0.0.1, as the kernel writes it


# ---- the pages around it ----


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/healthz"])
def test_probe_says_yes(server: Server, case: Case, path: str) -> None:
    status, headers, _ = curl(server, path)
    assert (status, headers["x-model-version"]) == (200, case.version)


def test_example_of_the_openapi_document_works(server: Server, case: Case) -> None:
    document = json.loads(curl(server, "/docs.json")[2])
    example = document["paths"]["/predict"]["post"]["requestBody"]["content"]["application/json"]["example"]
    status, _, content = post_json(server, example)
    assert (status, json.loads(content)["predictions"]) == (200, case.answers[:1])


def test_page_shows_the_document_without_a_tracker(server: Server) -> None:
    status, headers, content = curl(server, "/")
    assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert b"//" not in content
    for asset in re.findall(rb'(?:src|href)="\.(/[^"]+)"', content):
        assert curl(server, asset.decode())[0] == 200


def samples(server: Server, name: str) -> dict[tuple[str, ...], float]:
    text = curl(server, "/metrics")[2].decode()
    return {
        (
            sample.labels.get("protocol", ""),
            sample.labels.get("outcome", ""),
            sample.labels["model_version"],
        ): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name
    }


def test_requests_are_counted_by_protocol_and_outcome(server: Server, case: Case, triton: dict[str, Any]) -> None:
    before = samples(server, "bulkhead_requests_total")
    rows = sum(samples(server, "bulkhead_rows_total").values())
    post_json(server, {"rows": case.rows[:3]})
    post_json(server, {"rows": [{}]})
    after = samples(server, "bulkhead_requests_total")
    for outcome in ("ok", "invalid_rows"):
        key = ("http", outcome, case.version)
        assert after[key] - before.get(key, 0) == 1
    assert sum(samples(server, "bulkhead_rows_total").values()) - rows == 3
    assert after["oip-http", "ok", case.version] >= 3
    assert after["oip-grpc", "ok", case.version] >= 2
    assert samples(server, "bulkhead_request_seconds_count") == after


# ---- bad input ----


def test_bad_input_is_refused_by_name_and_the_server_lives_on(server: Server, case: Case) -> None:
    field = case.field(kind="number")
    required = next(field.name for field in case.schema.fields if field.required)
    for value, status, code in [
        ({"rows": [{**case.row, "no_such_field": 1}]}, 422, "no_such_field"),
        ({"rows": [{**case.row, field.name: SECRET}]}, 422, field.name),
        ({"rows": [{**case.row, required: None}]}, 422, required),
        ({"rows": [{**case.row, field.name: float("nan")}]}, 422, field.name),
        ({"rows": [{}] * 100_000}, 413, "too_large"),
        (b'{"rows": [', 400, "bad_request"),
        (b"[" * 100_000, 400, "bad_request"),
        (b'{"rows": "\xff"}', 400, "bad_request"),
    ]:
        answer, headers, content = post_json(server, value)
        assert (answer, headers["x-model-version"]) == (status, case.version)
        assert code in content.decode()
        assert SECRET not in content.decode()
    assert curl(server, "/predict", "-H", "Content-Type: application/vnd.bentoml+PICKLE", body=b"\x80\x04.")[0] == 415
    assert curl(server, "/predict", "--data", "rows=1")[0] == 415
    assert curl(server, "/predict", "--request", "PATCH")[0] == 405
    assert curl(server, "/nowhere")[0] == 404
    assert post_json(server, {"rows": case.rows})[0] == 200
    assert SECRET not in server.log.read_text()


def test_raw_garbage_gets_no_5xx(server: Server, case: Case) -> None:
    host, port = server.http.split(":")
    for garbage in (
        b"\x16\x03\x01\x02\x00\x01\x00\x01",
        b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ):
        with socket.create_connection((host, int(port)), 10) as connection:
            connection.settimeout(2)
            connection.sendall(garbage)
            try:
                answer = connection.recv(4096)
            except (TimeoutError, ConnectionResetError):
                answer = b""
        assert not answer.startswith(b"HTTP/1.1 5"), answer
    assert post_json(server, {"rows": case.rows[:1]})[0] == 200


@pytest.mark.parametrize("options", [[], ["-H", "Transfer-Encoding: chunked", "-H", "Expect:"], ["-H", "Expect:"]])
def test_memory_stays_bounded_when_a_body_is_far_too_long(
    server: Server, case: Case, tmp_path: Path, options: list[str]
) -> None:
    huge = tmp_path / "huge.json"
    with huge.open("wb") as stream:
        stream.truncate(300 * 2**20)
    (worker,) = server.workers
    before = processes.resident_bytes(worker)
    peak = before
    command = ["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-H", "Content-Type: application/json", *options]
    client = subprocess.Popen(
        [*command, "--max-time", "30", "-T", huge, "-X", "POST", f"{server.http}/predict"], stdout=subprocess.PIPE
    )
    while client.poll() is None:
        peak = max(peak, processes.resident_bytes(worker))
        time.sleep(0.01)
    assert client.communicate()[0] == b"413"
    assert peak - before < 30 * 2**20
    assert post_json(server, {"rows": case.rows[:1]})[0] == 200


# ---- its end, and its absence ----


def test_bundle_is_unchanged_when_it_was_served(server: Server, case: Case) -> None:
    assert manifest.verify(case.bundle, case.version) == manifest.read(case.bundle)


def test_request_in_flight_is_answered_when_the_server_is_told_to_stop(
    case: Case, bundle: Path, tmp_path: Path
) -> None:
    running = start_server(bundle, tmp_path)
    statuses: queue.Queue[int] = queue.Queue()

    def watch() -> None:
        with grpc.insecure_channel(running.grpc) as channel:
            ask = channel.unary_stream("/grpc.health.v1.Health/Watch")
            try:
                for message in ask(health_pb2.HealthCheckRequest(service="").SerializeToString()):
                    statuses.put(health_pb2.HealthCheckResponse.FromString(message).status)
            except grpc.RpcError:
                pass

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    assert statuses.get(timeout=10) == health_pb2.HealthCheckResponse.SERVING
    body = json.dumps({"rows": case.rows[:1]}).encode()
    host, port = running.http.split(":")
    with socket.create_connection((host, int(port)), 10) as connection:
        head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body[:10])
        until(lambda: samples(running, "bulkhead_requests_in_flight")[("http", "", case.version)] == 1)
        running.process.send_signal(signal.SIGTERM)
        assert statuses.get(timeout=10) == health_pb2.HealthCheckResponse.NOT_SERVING
        connection.sendall(body[10:])
        connection.settimeout(10)
        answer = b""
        while chunk := connection.recv(4096):
            answer += chunk
    assert answer.startswith(b"HTTP/1.1 200")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["predictions"] == case.answers[:1]
    assert running.process.wait(20) == 0


def run_python(directory: Path, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run this Python to its end in a directory, which is its home, with nothing of this environment."""
    home = str(directory)
    environment = {"PATH": "/usr/bin:/bin", "HOME": home, "BENTOML_HOME": home, "BENTOML_DO_NOT_TRACK": "true"}
    command = [sys.executable, *arguments]
    options |= {"cwd": directory, "env": environment, "timeout": 60}
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


def test_server_ends_with_the_reason_when_its_bundle_was_changed(bundle: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(bundle, broken)
    (broken / manifest.ARTIFACT / "limits.json").write_bytes(b"{}")
    done = served(broken, tmp_path)
    assert done.returncode == 65
    assert "this bundle cannot be served" in done.stderr
    assert "limits.json" in done.stderr


def test_server_ends_when_its_worker_ends_before_it_has_loaded_anything(bundle: Path, tmp_path: Path) -> None:
    def ended(port: int, ending: str) -> subprocess.CompletedProcess[str]:
        place = tmp_path / str(port)
        shutil.copytree(bundle, place / "broken")
        (place / "broken" / "src" / "bentos" / "worker.py").write_text(ending)
        return served(place / "broken", place, port)

    # At once: BentoML's supervisor takes ten seconds to see that a worker is gone.
    with ThreadPoolExecutor() as threads:
        for done in threads.map(ended, free_ports(2), ["import no_such_module", "import os; os.kill(os.getpid(), 9)"]):
            assert done.returncode == 1
            assert "its worker crashed while loading it" in done.stderr


def served(bundle: Path, tmp_path: Path, port: int | None = None) -> subprocess.CompletedProcess[str]:
    """`bentoml serve` of a bundle that cannot be served."""
    port = port or free_ports(1)[0]
    return run_python(tmp_path, "-m", "bentoml", "serve", str(bundle), "--port", str(port))


def test_bentomls_own_worker_never_answers_in_place_of_ours(bundle: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        fd = listening.fileno()
        worker = ("-m", "_bentoml_impl.worker.service", str(bundle), "--fd", str(fd))
        done = run_python(tmp_path, *worker, pass_fds=[fd])
    assert done.returncode != 0
    assert "does not start bentos.worker: serve with the packages of the bundle's" in done.stderr


def test_server_says_what_is_missing_when_it_is_started_outside_of_a_bundle(tmp_path: Path) -> None:
    for package in ("bentos", "contract"):
        shutil.copytree(PROJECT / package, tmp_path / package)
    (port,) = free_ports(1)
    done = run_python(tmp_path, "-m", "bentoml", "serve", "bentos.service:Predictor", "--port", str(port))
    assert done.returncode != 0
    assert "has no manifest.json: this service runs only inside a built bundle" in done.stderr
