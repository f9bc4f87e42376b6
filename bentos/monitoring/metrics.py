"""Counters of requests by protocol and outcome, with their durations and queue waits.

They are plain Python numbers on the event loop's thread: BentoML's own metrics go through memory-mapped files, at several microseconds a
request. One replica is one process, so nothing has to be merged.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterator

from bentos.monitoring.exposition import Family, exposition, labels

OK = "ok"
# Seconds: ten a decade, so that a canary that is a third slower counts in other buckets. Source: ISO 3, series R10; the budget of one
# prediction is some 0.1 ms, and a full request of 1,000 rows takes tens of milliseconds.
_R10 = (1.0, 1.25, 1.6, 2.0, 2.5, 3.2, 4.0, 5.0, 6.3, 8.0)
BUCKETS = (*(round(number * 10.0**power, 6) for power in range(-4, 0) for number in _R10), 1.0, 10.0)


class Metrics:
    """Requests by protocol (`http`, `oip-http`, `oip-grpc`) and outcome (`ok` or an error's code), their times, and rows.

    Attributes:
        in_flight: by protocol, functions that count the requests that have begun to arrive and are not answered. The front ends add to it;
            the functions run at a scrape, so they cost a request nothing.
        sources: functions that return further metrics.
    """

    def __init__(self, model_version: str) -> None:
        self._version = model_version
        self._rows = 0
        self._seconds: dict[tuple[str, str], float] = {}
        self._buckets: dict[tuple[str, str], list[int]] = {}
        self._waits = [0] * (len(BUCKETS) + 1)
        self._waited = 0.0
        self.in_flight: defaultdict[str, list[Callable[[], int]]] = defaultdict(list)
        self.sources: list[Callable[[], Iterator[Family]]] = []

    def count(self, protocol: str, outcome: str, seconds: float) -> None:
        """Count a request that was answered `seconds` after it arrived (body included)."""
        key = (protocol, outcome)
        if key not in self._buckets:
            self._buckets[key] = [0] * (len(BUCKETS) + 1)
            self._seconds[key] = 0.0
        self._buckets[key][bisect_left(BUCKETS, seconds)] += 1
        self._seconds[key] += seconds

    def count_rows(self, rows: int) -> None:
        """Count predicted rows."""
        self._rows += rows

    def waited(self, seconds: float) -> None:
        """Count an admitted request that waited `seconds` in the queue."""
        self._waits[bisect_left(BUCKETS, seconds)] += 1
        self._waited += seconds

    def collect(self) -> Iterator[Family]:
        """Yield the families of these metrics and of all sources."""
        version = labels({"model_version": self._version})
        requests = Family("bulkhead_requests", "counter", "Prediction requests answered")
        times = Family("bulkhead_request_seconds", "histogram", "Time from a request's first byte to its answer")
        for (protocol, outcome), counts in sorted(self._buckets.items()):
            of = f"{labels({'protocol': protocol, 'outcome': outcome})},{version}"
            requests.add(of, sum(counts))
            times.add_histogram(of, BUCKETS, counts, self._seconds[protocol, outcome])
        rows = Family("bulkhead_rows", "counter", "Rows predicted")
        rows.add(version, self._rows)
        waits = Family("bulkhead_queue_wait_seconds", "histogram", "Time that requests waited for their turn")
        waits.add_histogram(version, BUCKETS, self._waits, self._waited)
        flying = Family(
            "bulkhead_requests_in_flight", "gauge", "Requests that have begun to arrive and are not answered yet"
        )
        for protocol, counts_of in self.in_flight.items():
            flying.add(f"{labels({'protocol': protocol})},{version}", sum(count() for count in counts_of))
        yield from (requests, times, rows, waits, flying)
        for source in self.sources:
            yield from source()

    def text(self) -> str:
        """Return the page of all metrics."""
        return exposition(self.collect())
