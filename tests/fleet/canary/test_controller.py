"""The judge at work, on a fleet whose Envoy and replicas are made up."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fleet.canary import controller
from fleet.canary.controller import FILE_NAME, Judging
from fleet.canary.counts import Tally
from fleet.configuration.edit import Edit
from fleet.configuration.settings import Settings
from fleet.configuration.state import Canary, Replica, State, socket_of
from fleet.envoy.clusters import PROTOCOLS, cluster_name
from fleet.envoy.proxy import Host, Proxy
from fleet.supervisor import metrics

OLD, NEW = "a" * 64, "b" * 64
REPLICAS = tuple(
    Replica(name, digest, port) for name, digest, port in (("x", OLD, 1), ("control", OLD, 2), ("new", NEW, 3))
)
STATE = State(size=1, live=OLD, canary=Canary(NEW, 5, "auto"), replicas=REPLICAS)


class Machine:
    """Replicas and their Envoy: requests and errors of each so far; a replica in `silent` shows no page."""

    def __init__(self, root: Path) -> None:
        self.settings = Settings(store="store", verify_keys=tuple, root=root)
        self.counts = {replica.name: [0, 0] for replica in REPLICAS}
        self.silent: set[str] = set()

    def hosts(self) -> dict[tuple[str, str], Host]:
        return {
            (cluster_name(protocol, replica.digest), socket_of(protocol, replica.name, self.settings.root)): Host(
                True, False, 0, *(self.counts[replica.name] if protocol == "http" else (0, 0))
            )
            for replica in REPLICAS
            for protocol in PROTOCOLS
        }

    def page(self, replica: Replica, *_: object) -> Tally | None:
        requests, errors = self.counts[replica.name]
        answered: Tally = {("outcome", "ok"): requests - errors, ("outcome", "internal"): errors}
        return None if replica.name in self.silent else answered

    def answer(self, **counts: tuple[int, int]) -> None:
        for name, (requests, errors) in counts.items():
            self.counts[name][0] += requests
            self.counts[name][1] += errors

    def report(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.settings.root / FILE_NAME).read_bytes())
        return found


class Course(Judging):
    """A judge whose clock goes with the time of day, until that is set."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings, lambda: self.now - self.set_by)
        self.now = self.set_by = 0.0

    def step(self, state: State, now: float) -> Edit | None:
        self.now = now + self.set_by
        return super().step(state, self.now)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    made = Machine(tmp_path)
    monkeypatch.setattr(Proxy, "hosts", lambda _: made.hosts())
    monkeypatch.setattr(metrics, "read", made.page)
    return made


@pytest.mark.parametrize("silent", [set(), {"new"}], ids=["pages", "only Envoy's counts of a canary that crashes"])
def test_rollback_is_asked_for_until_it_is_done_when_the_canary_fails(machine: Machine, silent: set[str]) -> None:
    judging = Course(machine.settings)
    assert judging.step(STATE, 100.0) is None
    machine.silent = silent
    machine.answer(x=(285, 0), control=(15, 0), new=(15, 6))
    edits = [edit for turn in range(1, 6) if (edit := judging.step(STATE, 100 + turn / 2))]
    assert {(edit.verb, edit.by, edit.bundle) for edit in edits} == {("rollback", "judge", NEW)}
    assert len(edits) == (2 if silent else 5)
    report = machine.report()
    assert (report["verdict"], report["decided_at"]) == ("roll back", 102.0 if silent else 100.5)
    assert report["evidence"]["outcome"] > report["thresholds"]["outcome"]
    assert report["requests"] == {"live": 300, "canary": 15}


def test_person_decides_when_the_judge_is_manual(machine: Machine) -> None:
    judging, manual = Course(machine.settings), replace(STATE, canary=Canary(NEW, 5))
    judging.step(manual, 100.0)
    machine.answer(x=(285, 0), control=(15, 0), new=(15, 6))
    assert judging.step(manual, 100.5) is None
    assert machine.report()["verdict"] == "roll back"


def test_weight_is_raised_when_the_canary_answers_well(machine: Machine) -> None:
    judging = Course(machine.settings)
    judging.step(STATE, 100.0)
    machine.answer(x=(3600, 0), control=(200, 0), new=(200, 0))
    edit = judging.step(STATE, 100.5)
    assert edit is not None
    assert (edit.verb, edit.value) == ("weight", 25)


def test_evidence_survives_the_process_and_not_the_trial(machine: Machine) -> None:
    judging = Course(machine.settings)
    judging.step(STATE, 100.0)
    machine.answer(x=(285, 0), control=(15, 0), new=(15, 1))
    judging.step(STATE, 102.0)
    resumed = Course(machine.settings)
    resumed.step(STATE, 104.0)
    assert machine.report()["requests"]["canary"] == 15
    resumed.step(replace(STATE, canary=None), 106.0)
    assert machine.report()["ended_at"] == 106.0
    resumed.step(STATE, 108.0)
    resumed.step(STATE, 110.0)
    assert machine.report()["requests"]["canary"] == 0
    assert machine.report()["started_at"] == 108.0


def test_unread_canary_is_rolled_back_and_its_silence_is_no_pass(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: object) -> None:
        raise ConnectionRefusedError

    monkeypatch.setattr(Proxy, "hosts", fail)
    judging, machine.silent = Course(machine.settings), {"new"}
    edits = [judging.step(STATE, 100.0 + seconds) for seconds in range(32)]
    assert edits[:30] == [None] * 30
    assert edits[-1] is not None
    assert (edits[-1].verb, edits[-1].why.partition(":")[0]) == ("rollback", "no data")


@pytest.mark.parametrize("hour", [3600.0, -3600.0], ids=["ahead", "back"])
@pytest.mark.parametrize("is_restarted", [False, True])
def test_clock_that_is_set_is_no_silence_of_the_canary_and_prolongs_none(
    machine: Machine, hour: float, is_restarted: bool
) -> None:
    judging = Course(machine.settings)
    judging.step(STATE, 100.0)
    judging = Course(machine.settings) if is_restarted else judging
    judging.set_by = hour
    assert [judging.step(STATE, 100.0 + seconds) for seconds in range(1, 30)] == [None] * 29
    assert machine.report()["at"] == 129.0 + hour
    edits = [judging.step(STATE, 100.0 + seconds) for seconds in range(30, 33)]
    assert edits[-1] is not None
    assert (edits[-1].verb, edits[-1].why.partition(":")[0]) == ("rollback", "no data")


@pytest.mark.parametrize("hour", [3600.0, -3600.0], ids=["ahead", "back"])
@pytest.mark.parametrize("is_seen", [False, True], ids=["just before the next", "long before the next"])
def test_clock_that_is_set_between_two_trials_is_nothing_to_the_next_one(
    machine: Machine, hour: float, is_seen: bool
) -> None:
    judging, rest = Course(machine.settings), replace(STATE, canary=None)
    judging.step(STATE, 97.0)
    judging.step(rest, 98.0)
    judging.set_by = hour
    if is_seen:
        judging.step(rest, 99.0)
    assert [judging.step(STATE, 100.0 + seconds) for seconds in range(30)] == [None] * 30
    assert machine.report()["deadline"] == 700.0 + hour
    edit = judging.step(STATE, 130.0)
    assert edit is not None
    assert edit.why == "no data: the canary answered no request for 30 s"


def test_disk_that_is_slow_in_a_look_is_no_clock_that_is_set(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    judging = Course(machine.settings)

    def slow(_: Path) -> None:
        judging.now += 20

    monkeypatch.setattr(controller, "report", slow)
    assert [judging.step(STATE, now) for now in (100.0, 121.0, 129.0)] == [None] * 3
    edit = judging.step(STATE, 130.0)
    assert edit is not None
    assert edit.why == "no data: the canary answered no request for 30 s"
