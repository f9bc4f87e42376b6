"""Counters parsed from what replicas and Envoy answer, and the rates between two readings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from fleet.monitoring.readings import metrics, traffic, usage
from fleet.monitoring.readings.metrics import Counters
from fleet.monitoring.readings.reading import Reading
from fleet.supervisor.processes import FLEET_MARK, PROGRAM_MARK
from harness.waiting import until

METRICS = """# HELP bulkhead_requests_total Prediction requests answered
# TYPE bulkhead_requests_total counter
bulkhead_requests_total{protocol="http",outcome="ok",model_version="a"} 32
bulkhead_requests_total{protocol="oip-grpc",outcome="ok",model_version="a"} 8
bulkhead_requests_total{protocol="http",outcome="internal",model_version="a"} 2
bulkhead_request_seconds_bucket{protocol="http",outcome="ok",model_version="a",le="0.001"} 30
bulkhead_request_seconds_bucket{protocol="http",outcome="ok",model_version="a",le="+Inf"} 32
bulkhead_request_seconds_bucket{protocol="oip-grpc",outcome="ok",model_version="a",le="0.001"} 8
bulkhead_request_seconds_bucket{protocol="oip-grpc",outcome="ok",model_version="a",le="+Inf"} 8
bulkhead_request_seconds_bucket{protocol="http",outcome="internal",model_version="a",le="0.001"} 2
bulkhead_rows_total{model_version="a"} 1.5e3
bulkhead_requests_in_flight{protocol="http",model_version="a"} 3
bulkhead_requests_in_flight{protocol="oip-grpc",model_version="a"} 1
bulkhead_feature_rows_total{feature="x",bin="\\"low\\"} 9",model_version="a"} 7
"""


def test_counters_of_a_replica_are_added_over_its_protocols() -> None:
    assert metrics.of_replica(METRICS) == Counters(
        rows=1500, requests={"ok": 40, "internal": 2}, buckets={"0.001": 38, "+Inf": 40}, in_flight=4
    )


def test_requests_at_envoy_are_those_of_callers_over_both_protocols() -> None:
    stats = [
        {"name": "http.http.downstream_rq_total", "value": 10},
        {"name": "http.grpc.downstream_rq_total", "value": 5},
        {"name": "http.http.downstream_rq_5xx", "value": 1},
        {"name": "http.admin.downstream_rq_total", "value": 99},
        {"histograms": {}},
    ]
    assert metrics.of_envoy(json.dumps({"stats": stats}).encode()) == {"total": 15, "5xx": 1}


def reading(at: float, replicas: Mapping[str, Counters], *callers: Mapping[str, int]) -> Reading:
    return Reading(at, at, "b", {}, replicas, callers=callers or None)


def test_rates_are_differences_over_the_time_between() -> None:
    first = Counters(100, {"ok": 50, "overloaded": 1}, {"0.001": 40, "0.01": 50, "+Inf": 50})
    second = Counters(300, {"ok": 150, "overloaded": 11}, {"0.001": 90, "0.01": 150, "+Inf": 150})
    found = traffic.of_replicas([reading(0, {"a": first}), reading(10, {"a": second})], ["a"])
    assert (found["rows_per_s"], found["requests_per_s"], found["errors_per_s"]) == (20, 11, 1)
    # Of 100 requests 50 took up to 1 ms, and 50 up to 10 ms: the 99th is 49/50 of the way through those.
    assert found["p50_s"] == pytest.approx(0.001)
    assert found["p99_s"] == pytest.approx(0.001 + 0.009 * 49 / 50)


def test_replica_counts_from_its_first_reading_in_the_window() -> None:
    readings = [
        reading(0, {"a": Counters(requests={"ok": 0})}),
        reading(30, {"a": Counters(requests={"ok": 30}), "b": Counters(requests={"ok": 0})}),
        reading(60, {"a": Counters(requests={"ok": 60}), "b": Counters(requests={"ok": 90})}),
    ]
    assert traffic.of_replicas(readings, ["a", "b"])["requests_per_s"] == 1 + 3


def test_replica_that_started_anew_has_what_it_counted_since() -> None:
    before = Counters(9000, {"ok": 900}, {"+Inf": 900, "0.001": 900})
    after = Counters(50, {"ok": 20}, {"+Inf": 20, "0.001": 20})
    found = traffic.of_replicas([reading(0, {"a": before}), reading(10, {"a": after})], ["a"])
    assert (found["rows_per_s"], found["requests_per_s"]) == (5, 2)


@pytest.mark.parametrize(
    "readings",
    [
        [],
        [reading(0, {"a": Counters()})],
        [reading(0, {"a": Counters()}), reading(5, {})],
        [reading(0, {"b": Counters()}), reading(5, {"a": Counters()})],
    ],
)
def test_what_was_not_measured_is_unknown_and_not_0(readings: list[Reading]) -> None:
    assert set(traffic.of_replicas(readings, ["a"]).values()) == {None}


def test_callers_are_unknown_when_envoy_did_not_answer_and_0_when_nobody_called() -> None:
    silent, first, second = reading(0, {}), reading(0, {}, {"total": 7}), reading(5, {}, {"total": 7})
    assert traffic.of_callers(silent, second) is None
    assert traffic.of_callers(first, second) == {"requests_per_s": 0, "errors_per_s": 0}
    # One of two Envoys was started again, and has counted from 0.
    before, after = (
        reading(0, {}, {"total": 900}, {"total": 900}),
        reading(5, {}, {"total": 910}, {"total": 10, "5xx": 5}),
    )
    assert traffic.of_callers(before, after) == {"requests_per_s": 4, "errors_per_s": 1}


@pytest.mark.parametrize(
    ("buckets", "expected"),
    [({}, None), ({"+Inf": 0, "1.0": 0}, None), ({"1.0": 10, "+Inf": 10}, 0.5), ({"1.0": 0, "+Inf": 10}, 1.0)],
)
def test_quantile_is_that_of_prometheus(buckets: dict[str, int], expected: float | None) -> None:
    assert traffic.quantile(buckets, 0.5) == expected


def test_processes_of_a_fleet_are_found_by_mark_and_by_parent(tmp_path: Path) -> None:
    # Its child has an empty environment, as a sandboxed one has.
    script = "import subprocess, sys; subprocess.run(['/bin/sh', '-c', 'echo; read line'], env={})"
    marks = {FLEET_MARK: str(tmp_path), PROGRAM_MARK: "aaaaaaaa-0"}
    with subprocess.Popen(
        [sys.executable, "-c", script], env=os.environ | marks, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout
        assert process.stdin
        process.stdout.readline()
        found = usage.read(tmp_path)
        key = next(key for key in found if key.startswith(f"{process.pid}-"))
        assert {each.program for each in found.values()} == {"aaaaaaaa-0"}
        assert [each.parent for name, each in found.items() if name != key] == [key]
        assert all(each.resident_bytes > 0 for each in found.values())
        process.stdin.close()
    until(lambda: not usage.read(tmp_path), "the fleet to be gone")


def test_age_of_a_process_is_the_time_since_its_start() -> None:
    tick_s = 1 / os.sysconf("SC_CLK_TCK")
    began = time.monotonic()
    with subprocess.Popen(["sleep", "1000"]) as process:
        started = time.monotonic()
        time.sleep(0.3)
        least_s, age_s = time.monotonic() - started, usage.age_s(process.pid)
        assert least_s - tick_s <= age_s <= time.monotonic() - began + tick_s
        process.kill()
    assert usage.age_s(process.pid) == 0
