"""What the tail at half load is taken from, and nginx as the benchmark starts it."""

from __future__ import annotations

import http.client
import json
from pathlib import Path

import pytest

from benchmarks.serving import peer_servers
from benchmarks.serving.half_load import OddOutcomeError, p99_ms
from harness.bundles import Bundle
from harness.load.open_loop import OpenOutcome

TIMES = [float(n) for n in range(1, 101)]


def test_tail_is_the_99th_percentile_of_all_answers() -> None:
    assert p99_ms("ours", OpenOutcome(latencies_ms={"200": TIMES[::-1]}, sent=100)) == 99


@pytest.mark.parametrize(
    "outcome",
    [
        OpenOutcome(latencies_ms={"200": TIMES}, sent=101, lost=1),
        OpenOutcome(latencies_ms={"200": TIMES, "503": [1.0]}, sent=101),
        OpenOutcome(),
    ],
)
def test_request_that_is_lost_or_refused_stops_the_run(outcome: OpenOutcome) -> None:
    with pytest.raises(OddOutcomeError, match=f"ours at half load: {outcome.lost} requests lost"):
        p99_ms("ours", outcome)


@pytest.mark.skipif(not peer_servers.NGINX_PROGRAM, reason="needs nginx")
def test_nginx_answers_a_request_of_any_length_with_its_constant(tmp_path: Path) -> None:
    with peer_servers.nginx(Bundle(tmp_path), tmp_path) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        for body in (b"{}", b"[" * 100_000):
            connection.request("POST", "/predict", body, {"Content-Type": "application/json"})
            response = connection.getresponse()
            assert json.loads(response.read())["predictions"] == [{"probability": 0.5, "label": "on_time"}]
        connection.close()
