"""A real server with a prediction log, whose model has a PII field: what is counted and logged is what was asked and answered."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from bentos.errors import INTERNAL
from bentos.monitoring.sketches import MINIMUM_ROWS
from bentos.rehearsal import asking
from bentos.rehearsal.channel import GrpcChannel
from contract.bundle import manifest
from contract.errors import RequestError
from contract.model.encoder import Encoder
from contract.model.reference import Counter, Reference
from contract.prediction_log.records import Reader
from contract.prediction_log.settings import SHADOW_HEADER, SHADOW_VARIABLE
from contract.schema.schema import FeatureSchema
from harness import PROJECT, interpreter
from harness.waiting import until
from tests.bentos.conftest import Case
from tests.bentos.monitoring.test_metrics import value
from tests.bentos.monitoring.watched import Collector, Watched, get, logged, serve, with_pii
from tests.faults import disks

DISK_MB = 24
READ_TABLES = """
import sys, json, polars as pl
table = pl.read_parquet(sys.argv[1]).sort("__time__", "__row__")
print(json.dumps({name: table[name].to_list() for name in ("__request_id__", "__row__", "__probability__", "__predicted_label__")}))
"""


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    collector = Collector()
    thread = threading.Thread(target=collector.serve_forever)
    thread.start()
    yield collector
    collector.shutdown()
    thread.join()
    collector.server_close()


@pytest.fixture(scope="module")
def small_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A small file system of its own, where one may be mounted."""
    path = tmp_path_factory.mktemp("logs")
    with disks.small_disk(path, megabytes=DISK_MB):
        yield path


@pytest.fixture(scope="module")
def watched(
    case: Case, small_disk: Path, collector: Collector, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Watched]:
    pii = case.field(kind="number", required=False).name
    bundle = with_pii(case.bundle, tmp_path_factory.mktemp("pii") / "bundle", case.schema, pii)
    schema = FeatureSchema.from_bytes((bundle / manifest.ARTIFACT / "schema.json").read_bytes())
    reference = Reference.from_bytes((bundle / manifest.ARTIFACT / "reference.json").read_bytes(), schema)
    traces = f"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:{collector.server_port}"
    running = serve(bundle, tmp_path_factory.mktemp("server"), small_disk, traces, "OTEL_BSP_SCHEDULE_DELAY=50")
    yield Watched(running, schema, reference, pii, small_disk, {}, {})
    if running.process.poll() is None:
        running.stop()


def test_log_and_counts_are_what_was_asked_over_every_protocol(watched: Watched, case: Case) -> None:
    for at, row in enumerate(case.rows):
        watched.ask([row], f"one-{at}")
    watched.ask(case.rows * 3, "many")
    complete = {name: given for name, given in case.row.items() if given is not None}
    with GrpcChannel(watched.server.grpc) as channel:
        schema = json.loads((case.bundle / manifest.ARTIFACT / "schema.json").read_bytes())
        prediction, _ = asking.over_grpc(channel, complete, schema)
    watched.expect("", [complete], [prediction])
    inputs = [
        {"name": name, "datatype": "BYTES" if isinstance(given, str) else "FP64", "shape": [1], "data": [given]}
        for name, given in complete.items()
        if not isinstance(given, bool)
    ]
    body = json.dumps({"id": "by tensors", "inputs": inputs}).encode()
    status, _, content = get(watched.server, f"/v2/models/{watched.schema.name}/infer", "POST", body)
    outputs = {entry["name"]: entry["data"][0] for entry in json.loads(content)["outputs"]}
    assert status == 200
    watched.expect("by tensors", [complete], [outputs])

    until(lambda: watched.log_counts() == (len(watched.rows), 0))
    found, unreadable = logged(watched.logs)
    assert (found.keys(), unreadable) == (watched.rows.keys(), 0)
    encoded, _ = Encoder(watched.schema).encode_rows(list(watched.rows.values()))
    columns = [watched.schema.feature_names.index(name) for name in watched.schema.open_features]
    assert 0 < len(columns) < encoded.shape[1]
    for key, row in zip(watched.rows, encoded[:, columns], strict=True):
        assert found[key] == (row.tobytes(), watched.answers[key]["probability"])

    metrics = watched.metrics()
    for name, bins in watched.reference.features.items():
        counted = [int(value(metrics, "bulkhead_feature_rows_total", feature=name, bin=each)) for each in bins.names]
        column = np.ascontiguousarray(encoded[:, watched.schema.feature_names.index(name)])
        assert counted == Counter([bins]).count(column[np.newaxis]).tolist()
    assert value(metrics, "bulkhead_prediction_count") == value(metrics, "bulkhead_rows_total") == len(watched.rows)
    assert value(metrics, "bulkhead_requests_in_flight", protocol="http") == 0


def test_mirrored_requests_are_logged_for_the_comparison_under_envoys_names(case: Case, tmp_path: Path) -> None:
    logs, shadow, home = (tmp_path / name for name in ("logs", "shadow", "home"))
    for each in (logs, shadow, home):
        each.mkdir()
    complete = {name: given for name, given in case.row.items() if given is not None}
    running = serve(case.bundle, home, logs, f"{SHADOW_VARIABLE}={shadow}")
    try:
        for name in ("", "http"):
            headers = {"Content-Type": "application/json", "X-Request-Id": f"{name}-of-caller"}
            headers |= {SHADOW_HEADER: name} if name else {}
            with contextlib.closing(HTTPConnection(running.http, timeout=10)) as connection:
                connection.request("POST", "/predict", json.dumps({"rows": [case.row]}), headers)
                assert connection.getresponse().status == 200
        with GrpcChannel(running.grpc) as channel:
            schema = json.loads((case.bundle / manifest.ARTIFACT / "schema.json").read_bytes())
            asking.over_grpc(channel, complete, schema, {SHADOW_HEADER: "grpc"})
    finally:
        running.stop()
    found, _ = logged(shadow)
    assert found.keys() == {("http", 0), ("grpc", 0)}
    assert logged(logs)[0].keys() == {("-of-caller", 0), ("http-of-caller", 0), ("", 0)}


def test_pii_column_is_in_no_metric_and_no_log(watched: Watched) -> None:
    assert watched.pii not in watched.schema.open_features
    labels = {label for _, of in watched.metrics() for label in of}
    assert ("feature", watched.schema.open_features[0]) in labels
    assert (
        not {("feature", name) for name in watched.schema.feature_names if name not in watched.schema.open_features}
        & labels
    )
    for path in watched.logs.glob("*.predictions"):
        header = Reader(path).header
        assert header
        assert header.features == tuple(watched.schema.open_features)


def test_tables_equal_the_answers(watched: Watched, tmp_path: Path) -> None:
    if not interpreter("pipeline").exists():
        pytest.skip(f"{interpreter('pipeline')} is not there; `make .venv/pipeline/installed.txt` makes it")
    environment = {key: text for key, text in os.environ.items() if not key.startswith("PYTHON")}
    command = [
        interpreter("pipeline"),
        "-m",
        "pipelines",
        "predictions",
        str(watched.logs),
        "--out",
        str(tmp_path),
        "--remove",
    ]
    for _ in range(2):  # the second time adds nothing, and what the server writes is not removed
        done = subprocess.run(command, cwd=PROJECT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert f"{len(watched.rows)} predictions of 1 logs" in done.stdout
        assert "0 logs removed" in done.stdout
    tables = f"{tmp_path}/*/*.parquet"
    done = subprocess.run(
        [interpreter("pipeline"), "-c", READ_TABLES, tables],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    rows = [
        ((name or "", position), (probability, label))
        for name, position, probability, label in zip(*json.loads(done.stdout).values(), strict=True)
    ]
    assert len(rows) == len(watched.rows)
    assert dict(rows) == {key: (answer["probability"], answer["label"]) for key, answer in watched.answers.items()}


def test_requests_are_answered_while_the_disk_of_the_log_is_full(watched: Watched, case: Case) -> None:
    if not watched.logs.is_mount():
        pytest.skip("no file system may be mounted here")
    ballast = watched.logs / "ballast"
    free = os.statvfs(watched.logs)
    ballast.write_bytes(bytes((free.f_bfree - 20) * free.f_bsize))
    written, before = watched.log_counts()
    asked, number = 0, 0
    while watched.log_counts()[1] == before:
        number += 1
        watched.ask(case.rows * 8, f"full-{number}")
        asked += len(case.rows) * 8
        assert number < 2000
    until(lambda: sum(watched.log_counts()) == written + before + asked)
    ballast.unlink()
    watched.ask(case.rows, "after")
    until(lambda: sum(watched.log_counts()) == written + before + asked + len(case.rows))
    found, unreadable = logged(watched.logs)
    total, dropped = watched.log_counts()
    assert (len(found), unreadable) == (total, 0)
    assert dropped > 0
    assert {key for key in found if key[0] == "after"} == {("after", at) for at in range(len(case.rows))}
    assert {key: score for key, (_, score) in found.items()}.items() <= {
        key: answer["probability"] for key, answer in watched.answers.items()
    }.items()
    assert "No space left" in (log := watched.server.log.read_text()) or "the disk is full" in log
    assert "Traceback" not in log


def test_sampled_requests_are_spans_of_their_callers_traces(watched: Watched, case: Case, collector: Collector) -> None:
    body = json.dumps({"rows": [case.row]}).encode()
    began = time.time_ns()
    for number in range(1, 9):
        flags = "01" if number % 2 else "00"
        headers = {"traceparent": f"00-{number:032x}-{number:016x}-{flags}", "x-request-id": f"traced-{number}"}
        with contextlib.closing(HTTPConnection(watched.server.http, timeout=10)) as connection:
            connection.request("POST", "/predict", body, {"content-type": "application/json", **headers})
            assert connection.getresponse().status == 200
    complete = {name: given for name, given in case.row.items() if given is not None}
    schema = json.loads((case.bundle / manifest.ARTIFACT / "schema.json").read_bytes())
    with GrpcChannel(watched.server.grpc) as channel:
        asking.over_grpc(channel, complete, schema, {"traceparent": f"00-{9:032x}-{9:016x}-01"})
    until(lambda: sum(int.from_bytes(span.trace_id) < 100 for _, span in collector.spans) >= 5)
    ours = [(service, span) for service, span in collector.spans if int.from_bytes(span.trace_id) < 100]
    assert sorted(int.from_bytes(span.trace_id) for _, span in ours) == [1, 3, 5, 7, 9]
    for service, span in ours:
        number = int.from_bytes(span.trace_id)
        protocol = "oip-grpc" if number == 9 else "http"
        assert (service, span.name, span.kind) == (watched.schema.name, f"predict {protocol}", span.SPAN_KIND_SERVER)
        assert int.from_bytes(span.parent_span_id) == number
        expected = {"bulkhead.protocol": protocol, "bulkhead.outcome": "ok"}
        if protocol == "http":
            expected["bulkhead.request_id"] = f"traced-{number}"
        assert {entry.key: entry.value.string_value for entry in span.attributes} == expected
        assert began < span.start_time_unix_nano < span.end_time_unix_nano < time.time_ns()


def _exprs(value: Any) -> Iterator[str]:
    """Everything under a key `expr` or `query`, however deep."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key in ("expr", "query") and isinstance(inner, str):
                yield inner
            yield from _exprs(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _exprs(inner)


def test_dashboard_and_alerts_speak_of_metrics_and_labels_that_there_are(watched: Watched, case: Case) -> None:
    rules = yaml.safe_load((PROJECT / "fleet" / "monitoring" / "grafana" / "rules.yaml").read_text())
    dashboard = json.loads((PROJECT / "fleet" / "monitoring" / "grafana" / "dashboard.json").read_bytes())
    recorded = {rule["record"] for group in rules["groups"] for rule in group["rules"] if "record" in rule}
    watched.ask(case.rows * (MINIMUM_ROWS // len(case.rows) + 1), "enough")  # or no PSI is told
    metrics = watched.metrics()
    names, labels = {name for name, _ in metrics}, {label for _, of in metrics for label, _ in of}
    asked = [*_exprs(rules), *_exprs(dashboard)]
    assert len(asked) > 30
    used = {name for expr in asked for name in re.findall(r"bulkhead[a-z_:0-9]+", expr)}
    assert used - names - recorded == set()
    shown = {name for expr in _exprs(dashboard) for name in re.findall(r"bulkhead[a-z_:0-9]+", expr)}
    assert recorded - {"bulkhead:rows:1d"} <= shown
    grouped = {label for expr in asked for by in re.findall(r"by \(([^)]*)\)", expr) for label in by.split(", ")}
    assert grouped <= labels | {"model_version"}


def test_strangers_do_not_make_series(watched: Watched, case: Case) -> None:
    def kinds(error: type[RequestError]) -> set[str]:
        return {error.code}.union(*(kinds(child) for child in error.__subclasses__()))

    allowed = {"ok", "disconnected", INTERNAL} | kinds(RequestError)
    for at in range(60):
        get(watched.server, f"/nowhere-{at}")
        get(watched.server, f"/v2/models/made-up-{at}/infer", "POST", b"{}")
        get(watched.server, "/predict", f"METHOD{at}"[:5] if at % 2 else "DELETE")
        get(watched.server, "/predict", "POST", b"{")
        get(watched.server, f"/v2/models/{watched.schema.name}/infer", "POST", json.dumps({"id": f"id-{at}"}).encode())
    before = watched.metrics().keys()
    for at in range(60, 90):
        get(watched.server, f"/nowhere-{at}")
        get(watched.server, f"/v2/models/made-up-{at}/infer", "POST", b"{}")
    assert watched.metrics().keys() == before
    requests = [dict(of) for name, of in before if name == "bulkhead_requests_total"]
    assert {of["outcome"] for of in requests} <= allowed
    assert {"not_found", "method_not_allowed", "ok"} <= {of["outcome"] for of in requests}
    assert {of["protocol"] for of in requests} <= {"http", "oip-http", "oip-grpc"}


def test_last_rows_are_written_when_the_server_stops(watched: Watched, case: Case) -> None:
    watched.ask(case.rows, "last")
    assert watched.server.stop() == 0
    found, unreadable = logged(watched.logs)
    assert unreadable == 0
    assert sum(name == "last" for name, _ in found) == len(case.rows)


def test_whole_rows_are_read_after_the_server_was_killed(case: Case, tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    server = serve(case.bundle, tmp_path, tmp_path / "logs")
    watched = Watched(server, case.schema, None, "", tmp_path / "logs", {}, {})
    watched.ask(case.rows, "early")
    until(lambda: watched.log_counts()[0] == len(case.rows))
    for at in range(12):
        watched.ask(case.rows * 30, str(at))
    until(lambda: watched.log_counts()[0] > 100 * len(case.rows))
    watched.ask(case.rows * 30, "late")
    (worker,) = server.workers
    os.kill(worker, signal.SIGKILL)
    server.process.kill()
    server.process.wait()
    found, _ = logged(tmp_path / "logs")
    assert {("early", at) for at in range(len(case.rows))} <= found.keys()
    assert len(found) > 100 * len(case.rows)
    for key, (_, score) in found.items():
        assert score == watched.answers[key]["probability"]


def test_server_does_not_start_with_a_log_that_it_cannot_write(case: Case, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "bentoml", "serve", str(case.bundle), "--host", "127.0.0.1", "--port", "0"]
    environment = {
        key: text for key, text in os.environ.items() if not key.startswith(("PYTHON", "BENTOML", "BULKHEAD"))
    }
    environment |= {"BENTOML_HOME": str(tmp_path), "BULKHEAD_PREDICTION_LOG": str(tmp_path / "none")}
    done = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 78
    assert "BULKHEAD_PREDICTION_LOG must name a directory" in done.stderr
