"""A real fleet with a shadow: callers notice nothing, every request is compared, and a different bundle's rows are counted."""

from __future__ import annotations

import os

from contract.environment.slices import LOWEST, SLICE_NS
from harness.processes import slice_ns
from harness.waiting import until
from tests.fleet.conftest import FleetCommand


def test_shadow_is_asked_what_callers_ask_and_compared_and_no_caller_sees_it(fleet: FleetCommand) -> None:
    fleet.serve(fleet.bundles.first, 1)
    fleet("deploy", fleet.bundles.second, "--shadow")
    try:
        with fleet.under_load() as load:
            until(lambda: (shadow_of(fleet).get("rows") or {}).get("compared", 0) > 200, "requests to be compared")
        load.check(fleet.bundles.first)
        replicas = {each["digest"]: each for each in fleet("status")["replicas"]}
        assert os.getpriority(os.PRIO_PROCESS, replicas[fleet.bundles.second]["pid"]) == LOWEST
        live, shadow = (
            min(map(slice_ns, fleet.pids(replicas[bundle]["name"])))
            for bundle in (fleet.bundles.first, fleet.bundles.second)
        )
        # From Linux 6.12 on; before, all are 0.
        assert live == min(map(slice_ns, fleet.envoy()))
        assert (live, shadow) in ((SLICE_NS, slice_ns()), (0, 0))
        assert {os.sched_getscheduler(each) for each in fleet.pids("shadow")} == {os.SCHED_IDLE}
        asked = sum(load.answers.values()) + sum(load.grpc_answers.values())
        until(lambda: shadow_of(fleet)["requests"]["compared"] >= asked, "all of them to be compared")
        found = shadow_of(fleet)
        assert found["rows"]["differing"] == 0  # the same model, so every bit is the same
        assert (found["live"], found["shadow"]) == (fleet.bundles.first, fleet.bundles.second)
        assert {name: found["requests"][name] for name in ("live_only", "shadow_only", "dropped")} == {
            "live_only": 0,
            "shadow_only": 0,
            "dropped": 0,
        }
    finally:
        status = fleet("rollback", "--shadow")
    assert status["shadow"] is None
    assert {each["digest"] for each in status["replicas"]} == {fleet.bundles.first}
    assert not fleet.pids("shadow")


def test_shadow_that_is_deployed_serves_from_replicas_of_full_priority(fleet: FleetCommand) -> None:
    fleet.serve(fleet.bundles.first, 1)
    fleet("deploy", fleet.bundles.second, "--shadow")
    with fleet.under_load() as load:
        status = fleet("deploy", fleet.bundles.second)
        until(lambda: load.answers[fleet.bundles.second] > 20, "the new bundle to answer")
    load.check(fleet.bundles.first, fleet.bundles.second)
    assert status["shadow"] is None
    (replica,) = status["replicas"]
    assert os.getpriority(os.PRIO_PROCESS, replica["pid"]) == os.getpriority(os.PRIO_PROCESS, 0)


def shadow_of(fleet: FleetCommand) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = fleet("status")["shadow"]
    return found
