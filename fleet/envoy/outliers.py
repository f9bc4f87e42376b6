"""Replicas that fail while their siblings do not, by Envoy's own counts.

Envoy ejects a replica after five failures, but only those that it sees in the first headers of an answer. A gRPC error after the initial
metadata, and a 503, which may be a refusal of a busy replica, are neither retried nor ejected. The host's counts have them all.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

from fleet.envoy.proxy import Host

_WINDOW_S = 5.0
_LEAST = 20  # requests, of the replica and of its siblings: fewer say nothing
_FAILS, _IS_WELL = 0.5, 0.1  # shares of failed requests


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A replica's process over one protocol; its siblings have the same bundle and protocol."""

    name: str
    pid: int
    digest: str
    protocol: str


@dataclass
class Outliers:
    """The counts of the last five seconds, of the endpoints that Envoy sent requests all that time."""

    _seen: dict[Endpoint, deque[tuple[float, int, int]]] = field(default_factory=dict)

    def look(self, hosts: Mapping[Endpoint, Host], now: float) -> list[str]:
        """Record the counts; return the names of the replicas that fail half of their requests while a sibling fails a tenth at most."""
        # One that is out of rotation begins anew: its failures were those of a start or an end.
        self._seen = {each: self._seen.get(each, deque()) for each, host in hosts.items() if host.gets_requests}
        for each, counts in self._seen.items():
            host = hosts[each]
            if counts and host.requests < counts[-1][1]:  # another Envoy counts
                counts.clear()
            counts.append((now, host.requests, host.errors))
            while now - counts[0][0] > _WINDOW_S:
                counts.popleft()
        shares = {each: share for each in self._seen if (share := self._share(each)) is not None}
        found = [
            each
            for each, share in shares.items()
            if share >= _FAILS and any(shares[other] <= _IS_WELL for other in shares if _are_siblings(each, other))
        ]
        for each in found:  # named once: its process is killed
            del self._seen[each]
        return sorted({each.name for each in found})

    def _share(self, each: Endpoint) -> float | None:
        """Return the share of failed requests; None if there were too few."""
        (_, requests, errors), (_, all_requests, all_errors) = self._seen[each][0], self._seen[each][-1]
        asked = all_requests - requests
        return (all_errors - errors) / asked if asked >= _LEAST else None


def _are_siblings(one: Endpoint, other: Endpoint) -> bool:
    return one != other and (one.digest, one.protocol) == (other.digest, other.protocol)
