"""The drill of hostile requests: faults 23 to 27 against one replica, over HTTP and gRPC, with a watch on its memory and log."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from drills.hostile import options
from drills.hostile.requests import CANARY
from drills.results import Result
from harness import PROJECT, servers
from harness.bundles import Bundle

_CALLERS = 4
_GROWTH_LIMIT = 1.1  # of memory, after a tenth of the requests and after all
_FAULTS = {
    0: ("right requests", "in between", "/predict gives the golden answers, gRPC answers"),
    23: ("broken requests", "cut, nested, mistyped and mutated bodies, heads and messages", "never a 5xx, nor silence"),
    24: ("too many rows", "1,001 to 10^30 rows by body or by shape", "413 or RESOURCE_EXHAUSTED"),
    25: ("no numbers", "NaN, ±Infinity, 1e999, 5,000 digits", "400, 422 or INVALID_ARGUMENT"),
    26: (
        "unknown categories",
        "a category that training has not seen, optional fields left out",
        "answered, and flagged by /predict",
    ),
    27: ("pickles", "on every path, in every casing, to run a command", "415 or INVALID_ARGUMENT; nothing ran"),
}


def hostile(bundle: Bundle, requests: int, seed: int) -> list[Result]:
    """Run the drill; return one result for each fault, and one each for the server's log and memory."""
    with tempfile.TemporaryDirectory() as scratch, servers.ours(bundle, Path(scratch)) as server:
        parts = _callers(bundle, server, requests, seed)
        log = b"".join(path.read_bytes() for path in Path(scratch).glob("*.log"))
    for entry in [failure for part in parts for failure in part["failures"]]:
        print(f"  {entry}")
    return [*_by_fault(parts), _log(log, requests), _memory(parts, requests)]


def _callers(bundle: Bundle, server: servers.Server, requests: int, seed: int) -> list[dict[str, Any]]:
    """Run concurrent callers, each with its share of the requests; return their findings."""
    share = -(-requests // _CALLERS)
    command = options.command("drills.hostile.fuzz", bundle, server, seed)
    callers = [
        subprocess.Popen(
            [*command, "--first", str(first), "--requests", str(min(share, requests - first))],
            cwd=PROJECT,
            stdout=subprocess.PIPE,
        )
        for first in range(0, requests, share)
    ]
    return [json.loads(caller.communicate()[0]) for caller in callers]


def _by_fault(parts: Sequence[dict[str, Any]]) -> list[Result]:
    results = []
    for fault, (name, injected, invariant) in _FAULTS.items():
        outcomes: Counter[str] = Counter()
        for part in parts:
            for kind, counted in part["counts"].get(str(fault), {}).items():
                outcomes.update({f"{kind.rpartition(' ')[2]} {outcome}": count for outcome, count in counted.items()})
        failed = sum(part["failed"].get(str(fault), 0) for part in parts)
        holds = not failed and not (fault == 27 and any(part["pickle_ran"] for part in parts))
        print(f"  {name}: {', '.join(f'{outcome} {count:,}' for outcome, count in sorted(outcomes.items()))}")
        results.append(Result(fault, name, injected, sum(outcomes.values()), failed, invariant, holds))
    return results


def _log(log: bytes, requests: int) -> Result:
    quoted = sum(CANARY.encode() in line for line in log.splitlines())
    injected = f"{CANARY!r} as a value"
    return Result(23, "log", injected, requests, quoted, "no value of a request in the log", not quoted)


def _memory(parts: Sequence[dict[str, Any]], requests: int) -> Result:
    warm, end = min(part["warm_mb"] for part in parts), max(part["end_mb"] for part in parts)
    invariant = f"memory grows by 10 % at most after the first tenth: {warm:.0f} MB, then {end:.0f} MB"
    return Result(23, "memory", "all of these requests", requests, 0, invariant, end <= warm * _GROWTH_LIMIT)
