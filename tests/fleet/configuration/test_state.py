import json
from dataclasses import replace
from pathlib import Path

import pytest

from contract.errors import ConfigurationError, UnavailableError
from fleet.configuration import state as fleet_state
from fleet.configuration.state import Canary, Replica, State
from fleet.isolation.sandbox import NONE, Sandbox
from fleet.supervisor import replicas
from tests.fleet.conftest import listening

OLD, NEW = "a" * 64, "b" * 64
BARE = Sandbox(NONE, uid=1, memory_mb=1024)


def replica(name: str, digest: str, slot: int = 0) -> Replica:
    return Replica(name, digest, 8100 + slot)


def test_live_bundle_gets_all_requests_when_there_is_no_canary() -> None:
    state = State(size=3, live=OLD)
    assert (state.weights, state.counts) == ({OLD: 100}, {OLD: 3})


def test_canary_has_its_share_of_requests_and_of_replicas_rounded_up() -> None:
    assert State(size=4, live=OLD, canary=Canary(NEW, 30)).weights == {OLD: 70, NEW: 30}
    assert State(size=4, live=OLD, canary=Canary(NEW, 30)).counts == {OLD: 4, NEW: 2}
    assert State(size=2, live=OLD, canary=Canary(NEW, 1)).counts == {OLD: 2, NEW: 1}


def test_shadow_has_its_share_of_replicas_rounded_up() -> None:
    for percent, count in ((100, 4), (50, 2), (30, 2), (1, 1)):
        assert State(size=4, live=OLD, shadow=NEW, mirror_percent=percent).counts == {OLD: 4, NEW: count}


def test_judged_canary_has_as_many_live_replicas_beside_it_as_its_control() -> None:
    running = tuple(replica(f"old-{slot}", OLD, slot) for slot in range(4))
    state = State(size=4, live=OLD, canary=Canary(NEW, 30, "auto"), replicas=running)
    assert state.counts == {OLD: 6, NEW: 2}
    assert state.control == ()
    more = replace(state, replicas=(*running, replica("old-4", OLD, 4), replica("old-5", OLD, 5)))
    assert [entry.name for entry in more.control] == ["old-4", "old-5"]
    assert replace(more, canary=Canary(NEW, 30)).control == ()
    assert [entry.name for entry in replace(more, canary=None).surplus] == ["old-4", "old-5"]


def test_nothing_is_wanted_when_nothing_is_live() -> None:
    state = State(replicas=(replica("x", OLD),))
    assert (state.weights, state.missing) == ({}, {})
    assert [entry.name for entry in state.surplus] == ["x"]


def test_missing_and_surplus_are_what_leads_to_the_wanted_replicas() -> None:
    running = tuple(replica(f"old-{slot}", OLD, slot) for slot in range(3))
    assert State(size=5, live=OLD, replicas=running).missing == {OLD: 2}
    assert [entry.name for entry in State(size=1, live=OLD, replicas=running).surplus] == ["old-1", "old-2"]
    replaced = State(size=2, live=NEW, replicas=running)
    assert replaced.missing == {NEW: 2}
    assert replaced.surplus == running


def test_replicas_that_are_gone_drain_no_longer() -> None:
    one, other = replica("one", OLD), replica("other", OLD, 1)
    state = State(replicas=(one, other), draining=frozenset({"one"})).without((one,))
    assert (state.replicas, state.draining) == ((other,), frozenset())


def test_state_is_the_same_when_it_was_saved_and_loaded(tmp_path: Path) -> None:
    state = State(size=3, live=OLD, canary=Canary(NEW, 5), mirror_percent=7, replicas=(replica("one", OLD),))
    fleet_state.save(tmp_path / "state.json", state)
    assert fleet_state.load(tmp_path / "state.json") == state
    assert fleet_state.load(tmp_path / "other.json") == State()


def test_unfit_replicas_are_replaced_and_do_not_count() -> None:
    running = tuple(replica(f"old-{slot}", OLD, slot) for slot in range(2))
    state = State(size=2, live=OLD, replicas=running, unfit=frozenset({"old-0"}))
    assert state.missing == {OLD: 1}
    assert [entry.name for entry in state.surplus] == ["old-0"]
    assert state.without(state.surplus) == State(size=2, live=OLD, replicas=running[1:])


def test_replicas_have_the_lowest_numbers_and_ports_that_are_free() -> None:
    with listening() as port:
        running = State(replicas=(Replica(f"{NEW[:8]}-0", NEW, port + 1),))
        first, second = replicas.plan(NEW, 2, port, running, BARE)
        assert port + 1 < first.admin_port < second.admin_port
    assert [first.name, second.name] == [f"{NEW[:8]}-1", f"{NEW[:8]}-2"]
    with pytest.raises(UnavailableError, match="65530"):
        replicas.plan(NEW, 9, 65530, running, BARE)


def test_damaged_state_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text('{"size": 2}')
    with pytest.raises(ConfigurationError, match=r"state\.json is not a fleet's state .*fleet down.*fleet up"):
        fleet_state.load(tmp_path / "state.json")


def test_prometheus_finds_every_replica_of_the_saved_state(tmp_path: Path) -> None:
    running = (
        replica("old-0", OLD),
        Replica("new-1", NEW, 9000),
        replica("gone-2", "c" * 64, 2),
    )
    fleet_state.save(tmp_path / "state.json", State(live=OLD, canary=Canary(NEW, 10), replicas=running))
    assert json.loads((tmp_path / "prometheus.json").read_bytes()) == [
        {"targets": ["127.0.0.1:8100"], "labels": {"replica": "old-0", "channel": "live"}},
        {"targets": ["127.0.0.1:9000"], "labels": {"replica": "new-1", "channel": "canary"}},
        {"targets": ["127.0.0.1:8102"], "labels": {"replica": "gone-2", "channel": "none"}},
    ]
    fleet_state.save(tmp_path / "state.json", State())
    assert json.loads((tmp_path / "prometheus.json").read_bytes()) == []


def test_no_caller_waits_for_the_replicas_of_a_shadow_that_is_nothing_else() -> None:
    state = State(live="a" * 64, shadow="b" * 64)
    assert [state.is_in_background(each * 64) for each in "ab"] == [False, True]
    assert not replace(state, canary=Canary("b" * 64, 5)).is_in_background("b" * 64)
    assert not State(live="a" * 64).is_in_background("a" * 64)
