"""A real fleet with a shadow: callers notice nothing, every request is compared, and a different bundle's rows are counted."""

from __future__ import annotations

import os
from typing import Any

from contract.environment.slices import LOWEST, SLICE_NS
from fleet.__main__ import describe
from fleet.configuration.settings import Settings
from fleet.monitoring.observer import Observer
from harness.waiting import until
from tests.contract.environment.slices import slice_ns
from tests.fleet.conftest import FleetCommand
from tests.fleet.crowds.load import Load


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
        all_compared(fleet, at_least=asked(load))
        found = shadow_of(fleet)
        assert found["rows"]["differing"] == 0  # the same model, so every bit is the same
        assert (found["live"], found["shadow"]) == (fleet.bundles.first, fleet.bundles.second)
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


def test_requests_that_are_not_mirrored_are_in_no_count(fleet: FleetCommand) -> None:
    fleet.serve(fleet.bundles.first, 1)
    fleet("deploy", fleet.bundles.second, "--shadow")
    before = {each["pid"] for each in fleet("status")["replicas"]}
    status = fleet("deploy", fleet.bundles.second, "--shadow", "--percent", "25")
    try:
        # Another share changes routes alone.
        assert {each["pid"] for each in status["replicas"]} == before
        assert status["shadow"]["percent"] == 25
        assert "with copies of 25 % of the requests" in describe(status)
        versions = Observer(Settings.read(fleet.environment)).look()["versions"]
        assert [(each["role"], each["percent"]) for each in versions] == [("live", 100), ("shadow", 25)]
        with fleet.under_load() as load:
            until(lambda: compared(fleet) > 200, "requests to be compared")
        load.check(fleet.bundles.first)
        # Five standard deviations of the binomial distribution.
        share, error = asked(load) / 4, 5 * (asked(load) * 3 / 16) ** 0.5
        all_compared(fleet, at_least=int(share - error))
        assert compared(fleet) < share + error
    finally:
        fleet("rollback", "--shadow")


def asked(load: Load) -> int:
    return sum(load.answers.values()) + sum(load.grpc_answers.values())


def compared(fleet: FleetCommand) -> int:
    requests: dict[str, int] = shadow_of(fleet).get("requests", {})
    return requests.get("compared", 0)


def all_compared(fleet: FleetCommand, at_least: int) -> None:
    """Wait until no request waits for its other side, and check that none had to be given up."""

    def is_done() -> bool:
        return compared(fleet) >= at_least and not shadow_of(fleet)["requests"]["waiting"]

    until(is_done, "all of them to be compared")
    requests = shadow_of(fleet)["requests"]
    assert (requests["live_only"], requests["shadow_only"], requests["dropped"]) == (0, 0, 0)


def shadow_of(fleet: FleetCommand) -> dict[str, Any]:
    found: dict[str, Any] = fleet("status")["shadow"]
    return found
