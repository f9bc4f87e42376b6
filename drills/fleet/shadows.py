"""The drill of a shadow: callers notice nothing of it, every copy is compared or counted, and equal bundles do not differ."""

from __future__ import annotations

from contextlib import suppress
from statistics import median
from typing import Any

from drills.fleet.fleets import DrilledFleet, asked, fleets
from drills.results import Result
from fleet.configuration import state
from fleet.configuration.settings import Settings
from fleet.envoy.proxy import Proxy
from harness.bundles import Bundle
from harness.waiting import until

_TURNS = 4
_SHARES = (100, 25, 10)  # percent of the requests that are mirrored
_SECONDS = 7.5
_RATE_PER_S = 260.0  # 30,000 requests in all
_SLOWER = 1.05
_COUNTED_S = 30.0
_TIMES = "p50_ms", "p99_ms"
_INJECTED = "a shadow deployed, with copies of all and of fewer requests, and removed"


def shadow(bundle: Bundle) -> list[Result]:
    """Ask without a shadow and beside it, in turn."""
    with fleets(bundle) as (one,):
        return shadowed(one)


def shadowed(one: DrilledFleet) -> list[Result]:
    """Ask without a shadow and beside it, in turn, so that all have the same share of this machine's other load."""
    one.serve(1)
    alone: list[dict[str, Any]] = []
    beside: dict[int, list[dict[str, Any]]] = {share: [] for share in _SHARES}
    copies, reports = 0, []
    for turn in range(_TURNS):
        alone.append(_asked(one))
        # Another share is the first each time: the shadow's replica has just started then.
        for share in (*_SHARES[turn % len(_SHARES) :], *_SHARES[: turn % len(_SHARES)]):
            one("deploy", one.second, "--shadow", "--percent", str(share))
            beside[share].append(_asked(one))
        sent = _copies(one)
        copies += sent
        reports.append(_report(one, sent))
        one("rollback", "--shadow")
    cases = [alone, *beside.values()]
    total, failed = (sum(found[name] for case in cases for found in case) for name in ("asked", "failed"))
    compared = sum(each["requests"]["compared"] for each in reports)
    differing = sum(each["rows"]["differing"] for each in reports)
    lost = copies - sum(map(_counted, reports))
    text = f"{compared:,} of {copies:,} copies compared, {differing} rows differ; not counted"
    return [
        Result(0, "callers beside a shadow", _INJECTED, total, failed, "each has the golden answer", not failed),
        *(_slower(share, alone, found) for share, found in beside.items()),
        Result(0, "comparison", _INJECTED, copies, abs(lost), text, not lost and not differing),
    ]


def _asked(one: DrilledFleet) -> dict[str, Any]:
    with asked(one, _RATE_PER_S, _SECONDS, one.first) as found:
        pass
    return found


def _slower(share: int, alone: list[dict[str, Any]], beside: list[dict[str, Any]]) -> Result:
    """Return how much longer callers wait beside a shadow that gets copies of a share of the requests."""
    before, after = ({name: median(found[name] for found in case) for name in _TIMES} for case in (alone, beside))
    growth = after["p99_ms"] / before["p99_ms"]
    invariant = (
        f"p99 {before['p99_ms']:.2f} ms without and {after['p99_ms']:.2f} ms with copies of {share} % of the requests, "
        f"{growth:.2f}×; {_SLOWER}× at most; p50 {before['p50_ms']:.2f} and {after['p50_ms']:.2f} ms"
    )
    total = sum(found["asked"] for found in beside)
    return Result(0, f"p99 beside a shadow, {share} %", _INJECTED, total, 0, invariant, growth <= _SLOWER)


def _copies(one: DrilledFleet) -> int:
    """Return how many copies Envoy has sent to the shadow's replicas."""
    hosts = Proxy(Settings.read(one.environment)).hosts()
    replicas = state.load(one.root / "state.json").of(one.second)
    return sum(
        host.requests
        for replica in replicas
        for (_, path), host in hosts.items()
        if path == state.socket_of("http", replica.name, one.root)
    )


def _counted(report: dict[str, Any] | None) -> int:
    requests = (report or {}).get("requests", {})
    return sum(requests.get(name, 0) for name in ("compared", "live_only", "dropped"))


def _report(one: DrilledFleet, copies: int) -> dict[str, Any]:
    """Return the comparison once every copy is counted, or as it is after some time."""
    with suppress(AssertionError):
        until(lambda: _counted(one("status")["shadow"]) >= copies, limit_s=_COUNTED_S)
    found: dict[str, Any] = one("status")["shadow"]
    return found
