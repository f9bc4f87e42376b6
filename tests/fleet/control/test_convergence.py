from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from contract.errors import BundleError
from fleet.configuration.state import Canary, Replica, State
from fleet.control.convergence import Convergence
from fleet.isolation.sandbox import NONE, Sandbox
from fleet.supervisor import replicas

LIVE = "a" * 64
PLANNED = [Replica(f"new-{number}", LIVE, number) for number in range(2)]
STATE = State(live=LIVE, replicas=(Replica("old", LIVE, 9),))
OTHER, SHADOW = "b" * 64, "c" * 64
STATE_WITH_SHADOW = State(
    size=1,
    live=LIVE,
    shadow=SHADOW,
    replicas=(Replica("live", LIVE, 1), Replica("shadow", SHADOW, 2, background=True)),
)


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


class Supervised:
    """Supervisord that runs these replicas, and Envoy to which none of them is healthy."""

    def __init__(self, *names: str) -> None:
        self.names = names

    def states(self) -> dict[str, str]:
        return dict.fromkeys(self.names, "RUNNING")

    def unhealthy(self, among: list[Replica], _: float) -> list[Replica]:
        return among


@pytest.mark.parametrize(
    ("wanted", "replaced"),
    [
        (STATE_WITH_SHADOW, {"live", "shadow"}),
        (replace(STATE_WITH_SHADOW, size=2), {"live", "shadow"}),
        (replace(STATE_WITH_SHADOW, live=OTHER), set()),
        (replace(STATE_WITH_SHADOW, live=OTHER, shadow=None), set()),
        (replace(STATE_WITH_SHADOW, live=SHADOW, shadow=LIVE), {"live", "shadow"}),
        (replace(STATE_WITH_SHADOW, canary=Canary(OTHER, 10)), {"live"}),
        (replace(STATE_WITH_SHADOW, canary=Canary(SHADOW, 10)), {"live", "shadow"}),
    ],
    ids=["repair", "scale", "deploy", "without the shadow", "change of places", "canary", "shadow as canary"],
)
def test_sick_shadow_is_replaced_unless_callers_wait_for_something_else(wanted: State, replaced: set[str]) -> None:
    convergence = Convergence.__new__(Convergence)
    convergence._supervisor = convergence._proxy = Supervised("live", "shadow")
    convergence._sandbox = Sandbox(NONE, uid=1, memory_mb=1024)
    convergence._tell = lambda _: None
    assert convergence._unfit(STATE_WITH_SHADOW, wanted) == replaced
