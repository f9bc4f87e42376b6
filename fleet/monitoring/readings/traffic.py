"""Rates and latencies between two readings. Pure functions; what was not measured is None, never 0."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from fleet.monitoring.readings.metrics import Counters
from fleet.monitoring.readings.reading import Reading

_ERRORS = ("internal", "overloaded", "deadline_exceeded", "stopping")


def of_callers(before: Reading, after: Reading) -> dict[str, float] | None:
    """Return requests and server errors (5xx) per second as callers saw them; None where Envoy did not answer both times."""
    seconds = after.at - before.at
    if before.callers is None or after.callers is None or seconds <= 0:
        return None
    # Of each Envoy, since one may have been started again.
    pairs = [*zip(before.callers, after.callers, strict=True)]
    return {
        name: sum(since(old.get(counter, 0), new.get(counter, 0)) for old, new in pairs) / seconds
        for name, counter in (("requests_per_s", "total"), ("errors_per_s", "5xx"))
    }


def of_replicas(readings: Sequence[Reading], names: Iterable[str]) -> dict[str, float | None]:
    """Return predictions, requests and errors per second, and p50 and p99 in seconds, of some replicas together.

    A replica counts from its first reading to the newest one; None where none has both. An error is an outcome for which the server is to
    blame.
    """
    rows_per_s, requests_per_s, errors_per_s = 0.0, 0.0, 0.0
    measured = False
    buckets: Counter[str] = Counter()
    for name in names:
        found = [each for each in readings if name in each.replicas]
        if len(found) < 2 or found[-1] is not readings[-1] or found[-1].at <= found[0].at:
            continue
        old, new, seconds = found[0].replicas[name], found[-1].replicas[name], found[-1].at - found[0].at
        # Its counters all begin anew with its process; then what they have now is new.
        if sum(new.requests.values()) < sum(old.requests.values()):
            old = Counters()
        measured = True
        rows_per_s += since(old.rows, new.rows) / seconds
        grown = {outcome: value - old.requests.get(outcome, 0) for outcome, value in new.requests.items()}
        requests_per_s += sum(grown.values()) / seconds
        errors_per_s += sum(grown.get(outcome, 0) for outcome in _ERRORS) / seconds
        buckets.update({bound: value - old.buckets.get(bound, 0) for bound, value in new.buckets.items()})
    if not measured:
        return dict.fromkeys(("rows_per_s", "requests_per_s", "errors_per_s", "p50_s", "p99_s"))
    return {
        "rows_per_s": rows_per_s,
        "requests_per_s": requests_per_s,
        "errors_per_s": errors_per_s,
        "p50_s": quantile(buckets, 0.5),
        "p99_s": quantile(buckets, 0.99),
    }


def since(before: int, after: int) -> int:
    """Return how much a counter has grown; one that is smaller than before began anew, at 0."""
    return after - before if after >= before else after


def quantile(buckets: Mapping[str, int], share: float) -> float | None:
    """Return a quantile by linear interpolation in its bucket, as Prometheus's `histogram_quantile`; None without a sample.

    Args:
        buckets: cumulative counts by upper bound, `+Inf` among them. The last bound stands for what lies above it.
    """
    bounds = sorted((float(bound), count) for bound, count in buckets.items())
    if not bounds or not bounds[-1][1]:
        return None
    rank = share * bounds[-1][1]
    low, below = 0.0, 0
    for bound, count in bounds:
        if count >= rank:
            return low if bound == float("inf") else low + (bound - low) * (rank - below) / max(count - below, 1)
        low, below = bound, count
    return low


def of_all(readings: Sequence[Reading]) -> dict[str, float | None]:
    """Return the traffic of callers from the first reading to the newest: rates as Envoy counted them, times as replicas did."""
    names = [name for newest in readings[-1:] for name in newest.replicas if name not in newest.shadows]
    latency = of_replicas(readings, names)
    callers = (of_callers(readings[0], readings[-1]) if readings else None) or {}
    return {
        **{name: callers.get(name) for name in ("requests_per_s", "errors_per_s")},
        **{name: latency[name] for name in ("p50_s", "p99_s")},
    }


def points(readings: Sequence[Reading]) -> list[dict[str, float | None]]:
    """Return the traffic between each reading and the next, oldest first, for a chart."""
    return [{"at": pair[1].at, **of_all(pair)} for pair in pairwise(readings)]
