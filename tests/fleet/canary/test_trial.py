"""A deployment that waits for the verdict, on a fleet that is only files: what it joins, begins, and reports."""

from __future__ import annotations

import json
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from contract.errors import ConfigurationError, ConflictError, ModelRejectedError
from fleet.configuration import changes, history
from fleet.configuration import state as fleet_state
from fleet.configuration.changes import Cause
from fleet.configuration.state import Canary, State
from fleet.control import trial
from fleet.control.trial import Trial

OURS, OTHER, LIVE = "a" * 64, "b" * 64, "c" * 64
BEFORE = datetime.now(UTC) - timedelta(minutes=5)


class Fleet:
    """A fleet whose judge decides as soon as a trial begins."""

    def __init__(self, root: Path, verdict: str = "promote") -> None:
        self.root, self.verdict, self.asked = root, verdict, []

    def deploy(self, digest: str, canary: Any = None, *, breaking: bool) -> None:
        self.asked.append((digest, canary, breaking))
        if canary:
            self.end(digest, self.verdict)

    def end(self, digest: str, verb: str) -> None:
        save(self.root, State(size=1, live=digest if verb == "promote" else LIVE))
        history.append(self.root, Cause("judge", "as the evidence says"), verb, digest, "done")


def save(root: Path, state: State) -> None:
    fleet_state.save(root / "state.json", state)


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(trial, "_POLL_S", 0.01)
    monkeypatch.setattr(trial, "_MEASURED_S", 0.0)
    save(tmp_path, State(size=1, live=LIVE))
    return SimpleNamespace(root=tmp_path, state=tmp_path / "state.json")


def run(
    fleet: Fleet, settings: Any, canary: Any = "auto", since: datetime | None = None, told: Any = print
) -> trial.Ended:
    return Trial(fleet, settings, OURS, told).run(canary, since=since, breaking=False)


@pytest.mark.parametrize(
    ("verb", "verdict", "state"), [("promote", "promoted", "ran"), ("rollback", "rolled back", "refused")]
)
def test_verdict_of_the_judge_is_the_end(verb: str, verdict: str, state: str, settings: Any) -> None:
    fleet = Fleet(settings.root, verb)
    ended = run(fleet, settings)
    assert fleet.asked == [(OURS, "auto", False)]
    assert ended.outcome() == {
        "stage": "deploy",
        "state": state,
        "seconds": pytest.approx(0, abs=60),
        "facts": {"verdict": verdict, "why": "as the evidence says", "digest": OURS},
    }
    if verb == "rollback":
        with pytest.raises(ModelRejectedError, match="was rolled back: as the evidence says"):
            ended.require()
    else:
        ended.require()


def test_trial_that_runs_is_joined_and_no_second_one_begun(settings: Any, told: list[str]) -> None:
    fleet = Fleet(settings.root)
    save(settings.root, State(size=1, live=LIVE, canary=Canary(OURS, 1, "auto")))
    report = {"bundle": OURS, "at": 1.0, "weight": 5, "verdict": "wait", "why": "184 requests are needed"}
    (settings.root / "canary.json").write_text(json.dumps(report))

    def heard(line: str) -> None:
        told.append(line)
        if line.startswith("5 %"):
            threading.Thread(target=fleet.end, args=(OURS, "promote")).start()

    assert run(fleet, settings, since=BEFORE, told=heard).verdict == "promoted"
    assert fleet.asked == []
    assert told == ["the trial runs already; waiting for its verdict", "5 %: wait, 184 requests are needed"]


def test_verdict_since_then_counts_and_an_older_one_does_not(settings: Any) -> None:
    fleet = Fleet(settings.root)
    fleet.end(OURS, "rollback")
    assert run(fleet, settings, since=BEFORE).verdict == "rolled back"
    assert fleet.asked == []
    assert run(fleet, settings, since=datetime.now(UTC) + timedelta(milliseconds=5)).verdict == "promoted"
    assert len(fleet.asked) == 1
    assert run(fleet, settings).verdict == "live already"


def test_clock_that_is_set_back_hides_no_verdict_and_revives_none(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def set_by(hours: int) -> None:
        clock = SimpleNamespace(now=lambda zone: datetime.now(zone) + timedelta(hours=hours))
        monkeypatch.setattr(changes, "datetime", clock)

    fleet = Fleet(settings.root)
    set_by(1)
    fleet.end(OURS, "rollback")
    set_by(-1)
    assert run(fleet, settings).verdict == "promoted"


def test_without_traffic_or_a_live_bundle_it_is_deployed_straight(settings: Any, told: list[str]) -> None:
    fleet = Fleet(settings.root)
    ended = run(fleet, settings, "if-traffic", told=told.append)
    assert (ended.verdict, ended.why) == ("deployed", "0.0 requests a second are too few for a judge, who needs 30")
    save(settings.root, State(size=1))
    assert run(fleet, settings, "if-traffic").why == "nothing is live to compare it with"
    assert run(fleet, settings, None).why == "no trial was asked for"
    assert fleet.asked == [(OURS, None, False)] * 3
    assert told == [f"deployed without a trial: {ended.why}"]


def test_canary_of_somebody_else_is_left_alone(settings: Any) -> None:
    fleet = Fleet(settings.root)
    save(settings.root, State(size=1, live=LIVE, canary=Canary(OTHER, 1, "auto")))
    with pytest.raises(ConflictError, match="another canary, bbbbbbbbbbbb, is on trial"):
        run(fleet, settings)
    save(settings.root, State(size=1, live=LIVE, canary=Canary(OURS, 1)))
    with pytest.raises(ConfigurationError, match="a canary that a person judges"):
        run(fleet, settings)
    assert fleet.asked == []
