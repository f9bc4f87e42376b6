"""Counters of a replica, parsed from its `/metrics`, and of Envoy. Pure functions."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from fleet.supervisor.metrics import samples

_WANTED = (
    "bulkhead_rows_total",
    "bulkhead_requests_total",
    "bulkhead_requests_in_flight",
    "bulkhead_request_seconds_bucket",
)
_DOWNSTREAM = re.compile(r"http\.(?:http|grpc)\.downstream_rq_(total|\dxx)")


@dataclass(frozen=True)
class Counters:
    """A replica's counters since its process started.

    Attributes:
        rows: rows predicted.
        requests: requests by outcome, such as `ok`.
        buckets: requests answered with `ok` by the upper bound of their time in seconds, as text; cumulative, as Prometheus has them.
        in_flight: requests being answered now.
    """

    rows: int = 0
    requests: Mapping[str, int] = field(default_factory=dict)
    buckets: Mapping[str, int] = field(default_factory=dict)
    in_flight: int = 0


def of_replica(text: str) -> Counters:
    """Return the counters in a replica's `/metrics`, those of all protocols added."""
    rows = in_flight = 0
    requests: Counter[str] = Counter()
    buckets: Counter[str] = Counter()
    for name, labels, sample in samples(text, _WANTED):
        value = int(sample)
        if name == "bulkhead_rows_total":
            rows += value
        elif name == "bulkhead_requests_in_flight":
            in_flight += value
        elif name == "bulkhead_requests_total":
            requests[labels["outcome"]] += value
        elif labels["outcome"] == "ok":
            buckets[labels["le"]] += value
    return Counters(rows, dict(requests), dict(buckets), in_flight)


def of_envoy(content: bytes) -> dict[str, int]:
    """Return the requests that callers have sent, over both protocols: `total`, and by class of the status, such as `5xx`.

    Args:
        content: the answer of Envoy's `/stats?format=json`.
    """
    found: Counter[str] = Counter()
    for stat in json.loads(content)["stats"]:
        name = _DOWNSTREAM.fullmatch(stat.get("name", ""))
        if name:
            found[name[1]] += stat["value"]
    return dict(found)
