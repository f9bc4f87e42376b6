from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from contract.errors import BundleError
from fleet.configuration.state import Replica, State
from fleet.control.convergence import Convergence
from fleet.supervisor import replicas

LIVE = "a" * 64
PLANNED = [Replica(f"new-{number}", LIVE, number) for number in range(2)]
STATE = State(live=LIVE, replicas=(Replica("old", LIVE, 9),))


class Told:
    """Supervisord, and Envoy's configuration, that note what they are told."""

    def __init__(self) -> None:
        self.events: list[Any] = []

    def add(self, name: str) -> None:
        self.events.append(f"start {name}")

    def remove(self, names: list[str]) -> None:
        self.events += [f"remove {name}" for name in names]

    def write(self, state: State) -> None:
        self.events.append([each.name for each in state.replicas])


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    monkeypatch.setattr(replicas, "program", lambda replica, *_: replica.name)
    return Told()


def run(told: Told, failing: str = "") -> None:
    """Start the planned replicas; one may give a wrong answer."""

    def await_golden(replica: Replica, _: Path) -> None:
        if replica.name == failing:
            raise BundleError(f"{replica.name} is wrong")
        told.events.append(f"{replica.name} is ready")

    convergence = Convergence.__new__(Convergence)
    convergence._supervisor = convergence._proxy = told
    convergence._settings = None
    convergence._await_golden = await_golden
    convergence._run(PLANNED, Path("bundle"), Path("python"), STATE)


def test_replicas_start_together_and_each_gets_requests_when_it_is_ready(told: Told) -> None:
    run(told)
    assert told.events == [
        *("start new-0", "start new-1"),
        *("new-0 is ready", ["old", "new-0"]),
        *("new-1 is ready", ["old", "new-0", "new-1"]),
    ]


def test_replicas_that_got_requests_leave_rotation_before_they_are_removed_when_another_fails(told: Told) -> None:
    with pytest.raises(BundleError, match="new-1 is wrong"):
        run(told, failing="new-1")
    assert told.events[-4:] == [["old", "new-0"], ["old"], "remove new-0", "remove new-1"]
