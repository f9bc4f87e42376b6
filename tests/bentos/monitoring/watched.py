"""A server with a prediction log that remembers what it was asked and answered, and a collector of its traces."""

from __future__ import annotations

import contextlib
import json
import shutil
import sys
from dataclasses import dataclass, replace
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from contract.bundle import manifest
from contract.files import canonical_json, sha256
from contract.model.reference import Reference
from contract.prediction_log.records import Reader
from contract.schema.schema import FeatureSchema
from tests.bentos.conftest import Server, start_server
from tests.bentos.monitoring.test_metrics import Samples, samples, value


@dataclass
class Watched:
    """A server, its log, and what it was asked and has answered, by identifier and row."""

    server: Server
    schema: FeatureSchema
    reference: Reference
    pii: str
    logs: Path
    rows: dict[tuple[str, int], dict[str, Any]]
    answers: dict[tuple[str, int], dict[str, Any]]

    def ask(self, rows: list[dict[str, Any]], name: str) -> None:
        with contextlib.closing(HTTPConnection(self.server.http, timeout=10)) as connection:
            connection.request(
                "POST",
                "/predict",
                json.dumps({"rows": rows}),
                {"content-type": "application/json", "x-request-id": name},
            )
            response = connection.getresponse()
            content = json.loads(response.read())
        assert (response.status, response.headers["x-request-id"]) == (200, name)
        self.expect(name, rows, content["predictions"])

    def expect(self, name: str, rows: list[dict[str, Any]], answers: list[dict[str, Any]]) -> None:
        self.rows |= {(name, at): row for at, row in enumerate(rows)}
        self.answers |= {(name, at): answer for at, answer in enumerate(answers)}

    def metrics(self) -> Samples:
        return samples(get(self.server, "/metrics")[2].decode())

    def log_counts(self) -> tuple[int, int]:
        """Rows written, and rows dropped."""
        found = self.metrics()
        dropped = sum(
            count for (name, _), count in found.items() if name == "bulkhead_prediction_log_dropped_rows_total"
        )
        return int(value(found, "bulkhead_prediction_log_rows_total")), int(dropped)


class Collector(ThreadingHTTPServer):
    """Takes traces over OTLP/HTTP, as OpenTelemetry's collector does; `spans` with the name of their service."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), CollectorHandler)
        self.spans: list[tuple[str, Any]] = []


class CollectorHandler(BaseHTTPRequestHandler):
    server: Collector

    def do_POST(self) -> None:
        assert self.path == "/v1/traces"
        request = ExportTraceServiceRequest.FromString(self.rfile.read(int(self.headers["content-length"])))
        for of_one in request.resource_spans:
            about = {entry.key: entry.value.string_value for entry in of_one.resource.attributes}
            for spans in of_one.scope_spans:
                self.server.spans += [(about["service.name"], span) for span in spans.spans]
        self.send_response(200)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


def get(server: Server, path: str, method: str = "GET", body: bytes = b"") -> tuple[int, dict[str, str], bytes]:
    with contextlib.closing(HTTPConnection(server.http, timeout=10)) as connection:
        connection.request(method, path, body)
        response = connection.getresponse()
        return response.status, dict(response.headers), response.read()


def with_pii(bundle: Path, target: Path, schema: FeatureSchema, name: str) -> Path:
    """The bundle as it would be if the column had been marked."""
    shutil.copytree(bundle, target)
    artifact = target / manifest.ARTIFACT
    marked = replace(
        schema, fields=tuple(replace(field, pii=field.pii or field.name == name) for field in schema.fields)
    )
    reference = json.loads((artifact / "reference.json").read_bytes())
    reference["features"] = {key: bins for key, bins in reference["features"].items() if key in marked.open_features}
    (artifact / "schema.json").write_bytes(marked.to_bytes())
    (artifact / "reference.json").write_bytes(canonical_json(reference))
    claims = json.loads((target / manifest.FILE_NAME).read_bytes())
    for changed in ("schema.json", "reference.json"):
        claims["files"][f"{manifest.ARTIFACT}/{changed}"] = sha256(artifact / changed)
    (target / manifest.FILE_NAME).write_bytes(canonical_json(claims))
    return target


def serve(bundle: Path, directory: Path, logs: Path, *variables: str) -> Server:
    command = [sys.executable, "-m", "bentoml", "serve", str(bundle), "--host", "127.0.0.1"]
    return start_server(bundle, directory, ["env", f"BULKHEAD_PREDICTION_LOG={logs}", *variables, *command])


def logged(directory: Path) -> tuple[dict[tuple[str, int], tuple[bytes, float]], int]:
    """Features and score by identifier and row, each once; and the bytes that cannot be read."""
    found: dict[tuple[str, int], tuple[bytes, float]] = {}
    unreadable = 0
    for path in directory.glob("*.predictions"):
        reader = Reader(path)
        for batch in reader.batches(path.stat().st_size):
            rows = zip(batch.request_ids, batch.positions.tolist(), batch.matrix, batch.scores[:, 0], strict=True)
            for name, position, features, score in rows:
                assert not name or (name, position) not in found
                found[name, position] = features.tobytes(), float(score)
        unreadable += reader.unreadable_bytes
    return found, unreadable
