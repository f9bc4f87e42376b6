"""The drills of greedy callers: faults 21 (too much time) and 22 (too much memory), beside good callers."""

from __future__ import annotations

from typing import Any

from drills.results import Result
from drills.under_load import UnderLoad, run, under_load
from harness.bundles import Bundle
from harness.servers import Server

_GRACE_S = 3.0  # the server checks times twice a second, and other load delays it
_GROWTH_LIMIT = 0.1
# The bytes of a caller before it is cut off, beside a whole body: 64 MiB of HTTP, read so that it sees the answer, 16 MiB in the
# rationed frames of a rejected gRPC call, and socket buffers.
_MORE_BYTES = 96 * 1024 * 1024


def slow(bundle: Bundle) -> list[Result]:
    """Send endless heads and bodies, a byte at a time, over both protocols."""
    found = under_load(bundle, lambda server, seconds: _attack("drills.callers.slow", server, seconds))
    allowed = bundle.limits
    results = [_good(21, "thousands of connections, a byte at a time", found)]
    for kind, seen in found.done.items():
        limit_s = allowed.body_timeout_s if kind.endswith("bodies") else allowed.head_timeout_s
        results.append(_slow(kind, seen, limit_s))
    return results


def bodies(bundle: Bundle) -> list[Result]:
    """Send endless bodies, heads and trailers, and compression bombs."""
    found = under_load(bundle, lambda server, seconds: _attack("drills.callers.greedy", server, seconds))
    most = bundle.limits.body_limit_bytes + _MORE_BYTES
    results = [_good(22, "bodies without an end, and bombs", found)]
    for kind, seen in found.done.items():
        outcomes = ", ".join(f"{outcome} {count}" for outcome, count in sorted(seen["outcomes"].items()))
        invariant = f"refused, and cut off after {seen['most_sent_bytes'] / 1e6:.1f} MB at most: {outcomes}"
        holds = not seen["wrong"] and seen["most_sent_bytes"] <= most
        results.append(Result(22, kind, "repeatedly", seen["callers"], seen["wrong"], invariant, holds))
    invariant = f"grows by {found.growth:.1%}, 10 % at most"
    callers = sum(seen["callers"] for seen in found.done.values())
    return [*results, Result(22, "memory", "all of these", callers, 0, invariant, found.growth <= _GROWTH_LIMIT)]


def _attack(program: str, server: Server, seconds: float) -> dict[str, Any]:
    return run(program, str(server.port), str(server.grpc_port), "--seconds", str(seconds))


def _good(fault: int, injected: str, found: UnderLoad) -> Result:
    asked = found.alone["asked"] + found.beside["asked"]
    failed = found.alone["failed"] + found.beside["failed"]
    print(f"  good callers: {found.alone['outcomes']} alone, {found.beside['outcomes']} beside")
    return Result(fault, "good callers", injected, asked, failed, f"each has the golden answer; {found}", not failed)


def _slow(kind: str, seen: dict[str, Any], limit_s: float) -> Result:
    invariant = f"each ended within {limit_s:g} s or so, {seen['longest_s']:.1f} s at most"
    holds = not seen["otherwise"] and seen["ended"] > 0 and seen["longest_s"] <= limit_s + _GRACE_S
    return Result(21, f"slow {kind}", "a byte at a time", seen["opened"], seen["otherwise"], invariant, holds)
