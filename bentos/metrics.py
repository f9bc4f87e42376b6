"""Counters of predictions, in Prometheus' text format.

They are plain Python numbers, kept on the event loop's thread: BentoML's own metrics go through memory-mapped files, at several
microseconds a request. One replica is one process, so nothing has to be merged.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric

OK = "ok"
# Seconds. Source: the budget of one prediction is some 0.1 ms; a full request of 1,000 rows takes tens of milliseconds.
BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 10.0)
_LABELS = ("protocol", "outcome", "model_version")


class Metrics:
    """Requests by protocol (`http`, `oip-http`, `oip-grpc`) and outcome (`ok` or an error's code), their times, and rows."""

    def __init__(self, model_version: str) -> None:
        self._version = model_version
        self._rows = 0
        self._waited = 0.0
        self._seconds: dict[tuple[str, str], float] = {}
        self._buckets: dict[tuple[str, str], list[int]] = {}

    def count(self, protocol: str, outcome: str, seconds: float) -> None:
        """One request was answered, `seconds` after it arrived (body included)."""
        key = (protocol, outcome)
        if key not in self._buckets:
            self._buckets[key] = [0] * (len(BUCKETS) + 1)
            self._seconds[key] = 0.0
        self._buckets[key][bisect_left(BUCKETS, seconds)] += 1
        self._seconds[key] += seconds

    def waited(self, seconds: float) -> None:
        """A request was admitted after it had waited so long for its turn."""
        self._waited += seconds

    def count_rows(self, rows: int) -> None:
        self._rows += rows

    def collect(self) -> Iterator[Metric]:
        requests = CounterMetricFamily("bulkhead_requests", "Prediction requests answered", labels=_LABELS)
        seconds = HistogramMetricFamily(
            "bulkhead_request_seconds", "Time from a request's first byte to its answer", labels=_LABELS
        )
        for key, counts in sorted(self._buckets.items()):
            labels = [*key, self._version]
            requests.add_metric(labels, sum(counts))
            seconds.add_metric(labels, _cumulative(counts), self._seconds[key])
        rows = CounterMetricFamily("bulkhead_rows", "Rows predicted", labels=["model_version"])
        rows.add_metric([self._version], self._rows)
        waited = CounterMetricFamily(
            "bulkhead_queue_wait_seconds", "Time that requests waited", labels=["model_version"]
        )
        waited.add_metric([self._version], self._waited)
        yield from (requests, seconds, rows, waited)

    def text(self) -> str:
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        content: bytes = generate_latest(registry)
        return content.decode()


def _cumulative(counts: list[int]) -> list[tuple[str, float]]:
    total = 0
    buckets = []
    for bound, count in zip((*map(str, BUCKETS), "+Inf"), counts, strict=True):
        total += count
        buckets.append((bound, float(total)))
    return buckets
