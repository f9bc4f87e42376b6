"""The drill of several hosts: one cut off and back, another killed, behind one Envoy; hosts are network namespaces."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

from drills.fleet.fleets import DrilledFleet, asked, fleets
from drills.results import Result
from harness.bundles import Bundle
from harness.load import hosts
from harness.load.hosts import Front, Host
from harness.waiting import until

_RATE_PER_S = 300.0  # over each protocol
_SECONDS = 55.0
_CUT_OFF_S = 30.0
_SETTLE_S = 5.0


def several(bundle: Bundle) -> list[Result]:
    """Cut a host off for 30 seconds and kill the other after its return, while callers ask over both protocols."""
    if reason := hosts.missing():
        print(f"not done: {reason}")
        return []
    with fleets(bundle) as (one,), hosts.hosts(2) as places:
        made = [_on(one, place, number) for number, place in enumerate(places)]
        made[0].serve(1)
        made[1]("up", "--size", "1")
        with hosts.in_front(places, one.ports[0], one.ports[1], one.scratch / "front") as front:
            return _injected(replace(one, ports=list(front.ports)), front, *places)


def _on(one: DrilledFleet, host: Host, number: int) -> DrilledFleet:
    """Return a fleet on a host, with the store of another fleet."""
    scratch = Path(f"{one.scratch}-{number}")
    scratch.mkdir()
    (scratch / "store").symlink_to(one.store)
    return replace(one, scratch=scratch, host=host)


def _injected(one: DrilledFleet, front: Front, first: Host, second: Host) -> list[Result]:
    both, missed = {first.address, second.address}, []
    over_http = asked(one, _RATE_PER_S, _SECONDS, one.first)
    over_grpc = asked(one, _RATE_PER_S, _SECONDS, one.first, over_grpc=True)
    with over_http as http, over_grpc as grpc:
        time.sleep(_SETTLE_S)
        first.cut_off()
        missed.append(until(lambda: front.healthy() == {second.address}, "the host to be missed"))
        time.sleep(max(0.0, _CUT_OFF_S - missed[0]))
        first.connect()
        back_s = until(lambda: front.healthy() == both, "the host to be back")
        time.sleep(_SETTLE_S)
        second.kill()
        missed.append(until(lambda: front.healthy() == {first.address}, "the dead host to be missed"))
    times = f"missed after {missed[0]:.1f} s, back after {back_s:.1f} s, the dead one missed after {missed[1]:.1f} s"
    return [
        Result(
            0,
            f"two hosts over {name}",
            "one cut off for 30 s and back, then the other killed",
            counts["asked"],
            counts["failed"],
            f"every request gets the golden answer ({times})",
            not counts["failed"],
        )
        for name, counts in (("HTTP", http), ("gRPC", grpc))
    ]
