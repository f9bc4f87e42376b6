"""The drill of a shadow: callers notice nothing of it, every request is compared or counted, and equal bundles do not differ."""

from __future__ import annotations

from contextlib import suppress
from statistics import median
from typing import Any

from drills.fleet.fleets import DrilledFleet, NotAsExpectedError, asked, fleets, waited
from drills.results import Result
from harness.bundles import Bundle

_TURNS = 4
_SECONDS = 15.0
_RATE_PER_S = 260.0  # 30,000 requests in all
_SLOWER = 1.05
_COUNTED_S = 30.0


def shadow(bundle: Bundle) -> list[Result]:
    """Ask with and without a shadow, in turn."""
    with fleets(bundle) as (one,):
        return shadowed(one)


def shadowed(one: DrilledFleet) -> list[Result]:
    """Ask with and without a shadow, in turn, so that both have the same share of this machine's other load."""
    one.serve(1)
    alone, beside, reports = [], [], []
    for _ in range(_TURNS):
        with asked(one, _RATE_PER_S, _SECONDS, one.first) as found:
            pass
        alone.append(found)
        one("deploy", one.second, "--shadow")
        with asked(one, _RATE_PER_S, _SECONDS, one.first) as found:
            pass
        beside.append(found)
        reports.append(_report(one, found["asked"]))
        one("rollback", "--shadow")
    before, after = (median(each["p99_ms"] for each in counts) for counts in (alone, beside))
    total = sum(each["asked"] for each in alone + beside)
    failed = sum(each["failed"] for each in alone + beside)
    mirrored = sum(each["asked"] for each in beside)
    compared = sum(each["requests"]["compared"] for each in reports)
    differing = sum(each["rows"]["differing"] for each in reports)
    lost = mirrored - sum(map(_counted, reports))
    invariant = (
        f"p99 {before:.2f} ms without and {after:.2f} ms with a shadow, {after / before:.2f}×; {_SLOWER}× at most"
    )
    text = f"{compared:,} of {mirrored:,} compared, {differing} rows differ; not counted"
    return [
        Result(
            0,
            "callers beside a shadow",
            "a shadow deployed and removed",
            total,
            failed,
            "each has the golden answer",
            not failed,
        ),
        Result(0, "p99 beside a shadow", "the same", total, 0, invariant, after <= _SLOWER * before),
        Result(0, "comparison", "the same", mirrored, abs(lost), text, not lost and not differing),
    ]


def _counted(report: dict[str, Any] | None) -> int:
    requests = (report or {}).get("requests", {})
    return sum(requests.get(name, 0) for name in ("compared", "live_only", "dropped"))


def _report(one: DrilledFleet, mirrored: int) -> dict[str, Any]:
    """Return the comparison once every request is counted, or as it is after some time."""
    with suppress(NotAsExpectedError):
        waited(lambda: _counted(one("status")["shadow"]) >= mirrored, "all requests to be counted", _COUNTED_S)
    found: dict[str, Any] = one("status")["shadow"]
    return found
