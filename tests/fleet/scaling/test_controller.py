from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fleet.configuration.state import Bounds, Canary, Replica, State
from fleet.scaling.autoscaler import TICK_S, Sample
from fleet.scaling.controller import Scaler

LIVE, CANARY = "a" * 64, "b" * 64


class Samples:
    """A reader whose samples are given."""

    def __init__(self) -> None:
        self.sample: Sample | None = None
        self.watched: set[str] | None = None

    def open(self, digests: Any) -> None:
        self.watched = set(digests)

    def close(self) -> None:
        self.watched = None

    def take(self) -> Sample | None:
        return self.sample


class Fixture:
    """A controller, its reader, and a clock that goes on by a tick at each step."""

    def __init__(self, root: Path) -> None:
        self.now, self.samples, self.path = 100.0, Samples(), root / "scaling.json"
        self.scaler = Scaler(root, source=None, clock=lambda: self.now)
        self.scaler._reader = self.samples

    def step(self, state: State) -> Any:
        self.now += TICK_S
        return self.scaler.step(state, 1.7e9 + self.now)

    def told(self) -> dict[str, Any]:
        told: dict[str, Any] = json.loads(self.path.read_bytes())
        return told


@pytest.fixture
def one(tmp_path: Path) -> Fixture:
    return Fixture(tmp_path)


def running(size: int, bounds: Bounds | None) -> State:
    return State(size=size, live=LIVE, bounds=bounds, replicas=tuple(Replica(f"a-{n}", LIVE, n) for n in range(size)))


BUSY = Sample((90.0, 90.0), 4000, 1000)


def test_fixed_number_of_replicas_is_left_alone(one: Fixture) -> None:
    one.samples.sample = BUSY
    assert [one.step(running(2, None)) for _ in range(10)] == [None] * 10
    assert one.samples.watched is None
    assert one.told()["mode"] == "fixed"
    one.step(running(3, None))
    assert one.told()["desired"] == 3


def test_decisions_go_on_when_the_disk_is_full(one: Fixture, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fleet.scaling.controller.write_atomically", full)
    one.samples.sample = BUSY
    one.step(running(2, Bounds(2, 6)))
    assert one.step(running(2, Bounds(2, 6))).value == 6


def test_edit_is_repeated_as_long_as_it_is_wanted(one: Fixture) -> None:
    state = running(2, Bounds(2, 6))
    one.samples.sample = BUSY
    assert one.step(state) is None
    edits = [one.step(state) for _ in range(5)]
    assert {(edit.verb, edit.by, edit.value) for edit in edits} == {("scale", "autoscaler", 6)}
    assert edits[0].why.startswith("panic: ")
    assert edits[0].evidence["in_flight"] == [90.0, 90.0]
    assert one.step(running(6, Bounds(2, 6))) is None
    told = one.told()
    assert (told["mode"], told["desired"], told["min"], told["max"]) == ("panic", 6, 2, 6)
    assert len(told["history"]) >= 2


def test_missing_metrics_are_told_and_hold_the_size(one: Fixture) -> None:
    for _ in range(200):
        assert one.step(running(5, Bounds(2, 6))) is None
    told = one.told()
    assert told["in_flight"] is None
    assert told["ready"] is None
    assert told["why"] == "metrics are missing: held"


def test_new_bounds_take_effect_at_once(one: Fixture) -> None:
    one.step(running(5, Bounds(2, 6)))
    assert one.step(running(5, Bounds(2, 4))).value == 4
    assert one.step(running(5, Bounds(6, 8))).value == 6


def test_target_of_the_declaration_decides(one: Fixture) -> None:
    one.samples.sample = Sample((0.2, 0.2), 100, 100)
    for _ in range(100):
        assert one.step(running(2, Bounds(2, 8))) is None
    edits = [one.step(running(2, Bounds(2, 8, in_flight=0.1))) for _ in range(100)]
    # 2 × 0.2/1.2 busy replicas, each to be busy for 0.1/1.1
    assert edits[-1].value == 4


def test_replicas_of_a_canary_are_watched_and_the_size_is_that_of_the_live_bundle(one: Fixture) -> None:
    one.samples.sample = Sample((90.0, 90.0, 90.0), 4000, 2000)
    state = replace(running(2, Bounds(2, 8)), canary=Canary(CANARY, 50))
    state = replace(state, replicas=(*state.replicas, Replica("b-0", CANARY, 9)))
    one.step(state)
    edit = one.step(state)
    assert one.samples.watched == {LIVE, CANARY}
    assert edit.value == 8
    scaled = replace(state, size=edit.value)
    assert scaled.counts == {LIVE: 8, CANARY: 4}
    assert scaled.weights == state.weights


def test_replica_seconds_are_counted_with_those_of_a_canary(one: Fixture) -> None:
    state = replace(running(2, Bounds(2, 8)), replicas=tuple(Replica(f"a-{n}", LIVE, n) for n in range(3)))
    for _ in range(21):
        one.step(state)
    one.step(replace(state, bounds=None))
    assert one.told()["replica_seconds"] == pytest.approx(3 * 21 * TICK_S)
