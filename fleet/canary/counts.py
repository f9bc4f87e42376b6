"""What replicas answered between two looks: from their own pages of metrics, or from Envoy's counts where those are missing.

A counter that is missing, or smaller than before, is never read as zero: the replica restarted, or does not answer.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise

from fleet.supervisor import metrics

# (kind, key) -> number of requests or rows; kinds: `outcome`, `latency`, `score` and `label`.
Tally = Mapping[tuple[str, str], float]
_FAMILIES = {
    "bulkhead_requests_total": ("outcome", "outcome"),
    "bulkhead_request_seconds_bucket": ("latency", "le"),
    "bulkhead_prediction_bucket": ("score", "le"),
    "bulkhead_predicted_labels_total": ("label", "label"),
}
_PATIENCE = 4  # looks
_CUMULATIVE = ("latency", "score")
OK, SERVER = "ok", "internal"
# They tell about the load or the caller's patience, not about the model; a canary that refuses everything has no data, and its deadline.
_REFUSED = frozenset({"overloaded", "deadline_exceeded", "stopping", "disconnected"})


def parse(page: str) -> Tally:
    """Return the counts of a replica's metrics page; those of histograms by bin, not cumulative."""
    found: Counter[tuple[str, str]] = Counter()
    for name, labels, value in metrics.samples(page, _FAMILIES):
        kind, label = _FAMILIES[name]
        if kind != "latency" or labels["outcome"] == OK:
            found[kind, labels[label]] += value  # type: ignore[assignment]
    for kind in _CUMULATIVE:
        bounds = sorted((key for of, key in found if of == kind), key=float)
        for lower, upper in reversed([*pairwise(bounds)]):
            found[kind, upper] -= found[kind, lower]
    return found


@dataclass
class Ledger:
    """The last counts of every replica, by name, and how often in a row it has shown no page."""

    pages: dict[str, Tally] = field(default_factory=dict)
    hosts: dict[str, tuple[int, int]] = field(default_factory=dict)
    missed: dict[str, int] = field(default_factory=dict)

    def since(self, name: str, page: Tally | None, host: tuple[int, int] | None) -> Tally:
        """Return what a replica counted since the last look that gave something; empty at its first.

        Args:
            page: its own counts; None: it does not answer.
            host: requests and errors as Envoy counts them. They stand in once the replica has restarted, which loses its counts, or has
                been silent for some time. Not before: among Envoy's errors are refusals for load.
        """
        self.missed[name] = 0 if page is not None else self.missed.get(name, 0) + 1
        before = self.pages.get(name)
        if page is None and before is not None and self.missed[name] < _PATIENCE:
            return {}
        host_before = self.hosts.pop(name, None)
        if host is not None:
            self.hosts[name] = host
        if page is None:
            self.pages.pop(name, None)
        else:
            self.pages[name] = page
            if before is not None and all(page.get(key, -1) >= count for key, count in before.items()):
                return {key: count - before.get(key, 0) for key, count in page.items()}
        return _by_envoy(host_before, host)

    def forget_others(self, names: Iterable[str]) -> None:
        """Forget all replicas but these."""
        kept = set(names)
        for name in {*self.pages, *self.hosts, *self.missed} - kept:
            for of in (self.pages, self.hosts, self.missed):
                of.pop(name, None)


def _by_envoy(before: tuple[int, int] | None, now: tuple[int, int] | None) -> Tally:
    """Return the outcomes by Envoy's requests and errors; empty where it does not know, or was itself reset."""
    if before is None or now is None or min(now[0] - before[0], now[1] - before[1]) < 0:
        return {}
    requests, errors = now[0] - before[0], now[1] - before[1]
    return {("outcome", OK): max(0, requests - errors), ("outcome", SERVER): errors}


def summed(tallies: Iterable[Tally]) -> Tally:
    """Return the sum of counts."""
    total: Counter[tuple[str, str]] = Counter()
    for each in tallies:
        for key, count in each.items():
            total[key] += count  # type: ignore[assignment]
    return total


def of_kind(tally: Tally, kind: str) -> dict[str, float]:
    """Return the counts of one kind, by key."""
    return {key: count for (of, key), count in tally.items() if of == kind}


def outcomes(tally: Tally) -> tuple[int, int, int]:
    """Return the numbers of judged requests, of server errors and of client errors among them; refusals for load are not judged."""
    found = {key: int(count) for key, count in of_kind(tally, "outcome").items() if key not in _REFUSED}
    failed = found.get(SERVER, 0)
    return sum(found.values()), failed, sum(found.values()) - found.get(OK, 0) - failed


def quantile(histogram: Mapping[str, float], share: float) -> float | None:
    """Return a quantile of a histogram of positive values, interpolated on a logarithmic scale; None if it is empty."""
    bounds = sorted(map(float, histogram))
    rank, seen = share * sum(histogram.values()), 0.0
    counts = {float(bound): count for bound, count in histogram.items()}
    for index, bound in enumerate(bounds):
        if counts[bound] and seen + counts[bound] >= rank:
            # The first bin has no lower end, the last no upper one: half or twice its other end.
            upper = bound if bound < float("inf") else 2 * bounds[index - 1]
            lower = bounds[index - 1] if index else bound / 2
            return float(lower * (upper / lower) ** ((rank - seen) / counts[bound]))
        seen += counts[bound]
    return None


def rebinned(histogram: Mapping[str, float], bounds: Iterable[str]) -> dict[str, float]:
    """Return a histogram in the bins of another, whose last bound is infinite: rows are taken to lie evenly within a bin.

    Two bundles have the bins of their own training rows.
    """
    wanted = sorted(bounds, key=float)
    if set(wanted) == set(histogram):
        return dict(histogram)
    ends = sorted(map(float, histogram))[:-1]
    if not ends:
        return dict.fromkeys(wanted[:-1], 0.0) | {wanted[-1]: sum(histogram.values())}
    width = ends[-1] - ends[0] or 1.0
    points = [ends[0] - width / len(ends), *ends, ends[-1] + width / len(ends)]
    counts = [count for _, count in sorted(histogram.items(), key=lambda entry: float(entry[0]))]

    def below(bound: float) -> float:
        """Return the rows below a bound."""
        index = bisect_left(points, bound)
        if index == 0:
            return 0.0
        if index == len(points):
            return sum(counts)
        share = (bound - points[index - 1]) / (points[index] - points[index - 1])
        return sum(counts[: index - 1]) + share * counts[index - 1]

    reached = [below(float(bound)) for bound in wanted]
    return dict(zip(wanted, (now - then for then, now in pairwise([0.0, *reached])), strict=True))
