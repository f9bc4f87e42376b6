from __future__ import annotations

import math
import os
import signal
import stat
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from contract.errors import UnavailableError
from contract.store.store import Store
from fleet.configuration.edit import Edit
from fleet.configuration.settings import Settings
from fleet.configuration.state import Replica, State
from fleet.control import program, reconciler
from fleet.control.drift import Drift
from fleet.control.fleet import Fleet
from fleet.control.reconciler import Pauses, Reconciler
from fleet.control.watch import PATIENCE, Seen, Watch
from fleet.envoy.proxy import Host, Proxy
from fleet.monitoring.readings import usage
from fleet.supervisor import heartbeat
from fleet.supervisor.processes import FLEET_MARK, PROGRAM_MARK
from fleet.supervisor.supervision import ProcessState, Supervisor
from harness.waiting import until

START_LIMIT_S = 60.0


@pytest.mark.parametrize("missed", [0, 1, 3, 4, 5])
def test_process_hangs_when_it_misses_four_checks_in_a_row(missed: int) -> None:
    seen = Seen()
    answers = [True, False, True, *[False] * missed]
    verdicts = [seen.hangs(each, 5.0, START_LIMIT_S) for each in answers]
    assert verdicts == [False] * 3 + [each >= 4 for each in range(1, missed + 1)]


def test_process_has_the_start_limit_when_it_has_not_answered_yet() -> None:
    seen = Seen()
    assert not any(seen.hangs(answers=False, age_s=age_s, start_limit_s=START_LIMIT_S) for age_s in range(60))
    assert seen.hangs(answers=False, age_s=61, start_limit_s=START_LIMIT_S)


@pytest.mark.parametrize("set_by_s", [-3600, 0, 3600])
def test_silent_process_hangs_by_its_own_age_when_the_watch_is_new_or_the_clock_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, set_by_s: int
) -> None:
    set_clock = time.time() + set_by_s
    with subprocess.Popen(["sleep", "1000"]) as process:
        until(lambda: usage.age_s(process.pid) > 0.1, "it to be there for a while")
        monkeypatch.setattr(time, "time", lambda: set_clock)
        programs = {"aaaaaaaa-0": ProcessState("RUNNING", process.pid, started_at=int(set_clock))}
        for limit_s, last in ((0.1, ["aaaaaaaa-0"]), (3600.0, [])):
            watch = Watch(tmp_path)
            assert [watch.hanging(programs, limit_s) for _ in range(PATIENCE)] == [[]] * (PATIENCE - 1) + [last]
        process.kill()


def test_envoy_is_not_asked_whether_it_hangs_when_a_successor_has_its_admin_socket(tmp_path: Path) -> None:
    programs = dict.fromkeys(("envoy-0-9", "envoy-0-10", "envoy-1-0"), ProcessState("RUNNING", 1, 0))
    watch = Watch(tmp_path)
    found = [watch.hanging(programs, start_limit_s=-1) for _ in range(PATIENCE)]
    assert found == [[]] * (PATIENCE - 1) + [["envoy-0-10", "envoy-1-0"]]


def test_reconciler_does_not_look_when_its_heartbeat_is_old_or_missing(tmp_path: Path) -> None:
    assert not heartbeat.looks(tmp_path)
    heartbeat.begin(tmp_path)
    assert heartbeat.looks(tmp_path)
    old = time.time() - 60
    os.utime(tmp_path / "reconciler.alive", (old, old))
    assert not heartbeat.looks(tmp_path)


def test_reconciler_that_can_give_no_sign_of_life_looks_as_long_as_it_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heartbeat.begin(tmp_path)
    os.utime(tmp_path / "reconciler.alive", (0, 0))
    monkeypatch.setattr(os, "access", lambda *_: False)  # as on a disk that is read-only
    assert not heartbeat.looks(tmp_path)
    marks = {FLEET_MARK: str(tmp_path), PROGRAM_MARK: "reconciler"}
    with subprocess.Popen(["sleep", "1000"], env=os.environ | marks) as process:
        assert heartbeat.looks(tmp_path)
        process.kill()
    assert not heartbeat.looks(tmp_path)


def test_reconciler_goes_on_when_the_disk_of_its_log_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    full = Path("/dev/full").open("w")  # noqa: SIM115  # closing it fails
    with monkeypatch.context() as patched:
        patched.setattr("sys.stdout", full)
        reconciler._say("envoy-0 does not answer")
    with pytest.raises(OSError, match="No space left"):  # so it was full
        full.close()


@pytest.fixture
def made(tmp_path: Path) -> Reconciler:
    """The reconciler of a fleet that is only files."""
    program.program(Settings(store=str(tmp_path / "store"), verify_keys=tuple, root=tmp_path))
    return Reconciler(tmp_path)


def test_edit_that_needs_no_store_does_not_wait_for_a_look_at_one_that_hangs(
    made: Reconciler, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_read, free, applied = threading.Event(), threading.Event(), threading.Event()

    def hang(_: Settings) -> Store:
        is_read.set()
        free.wait()
        raise UnavailableError("the store does not answer")

    asked: list[Edit] = []
    monkeypatch.setattr(Settings, "open_store", hang)
    monkeypatch.setattr(Fleet, "__init__", lambda *_, **__: None)
    monkeypatch.setattr(Fleet, "apply", lambda *_, edit: applied.set())
    monkeypatch.setattr(made._drift, "found", lambda *_: (None, None))
    made._controllers = [SimpleNamespace(step=lambda *_: asked.pop() if asked else None)]
    try:
        made._act(state, {})
        assert is_read.wait(60)
        asked.append(Edit("rollback", "judge", "more errors", bundle=LIVE))
        made._act(state, {})
        assert applied.wait(60)
    finally:
        free.set()


def test_start_that_is_stopped_is_ended_so_that_another_can_begin(
    made: Reconciler,
) -> None:
    with subprocess.Popen(["sleep", "1000"]) as start:
        start.send_signal(signal.SIGSTOP)
        made._starting, made._started_at = start, -math.inf
        made.start_again("supervisord has ended")
        assert start.wait(60) == -signal.SIGKILL


@pytest.mark.parametrize(
    ("command", "began_s_ago", "code"), [("sleep 1000", math.inf, -signal.SIGKILL), ("sleep 1", 0, 0)]
)
def test_reconciler_leaves_no_start_that_hangs_to_the_one_that_replaces_it(
    made: Reconciler, monkeypatch: pytest.MonkeyPatch, command: str, began_s_ago: float, code: int
) -> None:
    monkeypatch.setattr(Supervisor, "states", lambda _: {reconciler.NAME: ProcessState("RUNNING", 1, 0)})
    with subprocess.Popen(command.split()) as start:
        made._starting, made._started_at = start, time.monotonic() - began_s_ago
        with pytest.raises(SystemExit):
            made.look()
        assert start.wait(60) == code


def test_nobody_else_reads_the_settings_that_the_reconciler_keeps(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    program.program(Settings(store="store", verify_keys=tuple, root=tmp_path))
    assert stat.S_IMODE((tmp_path / "reconciler.json").stat().st_mode) == 0o600


class Counting:
    """An Envoy whose counts the test makes."""

    def __init__(self) -> None:
        self.counts = {"one": (0, 0), "two": (0, 0)}

    def hosts(self) -> dict[str, tuple[int, int]]:
        return self.counts

    def of(self, replica: Replica, hosts: dict[str, tuple[int, int]]) -> list[Host]:
        requests, errors = hosts[replica.name]
        return [Host(healthy=True, draining=False, active_requests=0, requests=requests, errors=errors)] * 2


def test_replica_is_named_once_when_it_fails_requests_that_its_sibling_answers(tmp_path: Path) -> None:
    state = State(size=2, live="a" * 64, replicas=(Replica("one", "a" * 64, 1), Replica("two", "a" * 64, 2)))
    programs = {name: ProcessState("RUNNING", pid, 0) for pid, name in enumerate(("one", "two"), 100)}
    watch, envoy = Watch(tmp_path), Counting()
    assert watch.failing(programs, state, envoy) == []
    envoy.counts = {"one": (100, 60), "two": (100, 0)}
    assert watch.failing(programs, state, envoy) == ["one"]
    assert watch.failing(programs, state, envoy) == []


def test_pauses_after_failures_grow_to_a_bound_and_are_each_tasks_own() -> None:
    pauses, now = Pauses(), 0.0
    waited = []
    for _ in range(9):
        pauses.failed("apply", now, can_pass=True)
        began = now
        while not pauses.allow("apply", now):
            now += 0.5
        waited.append(now - began)
    assert waited == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    pauses.failed("apply", now, can_pass=False)
    assert not pauses.allow("apply", now + 500)
    assert pauses.allow("another", now)
    pauses.succeeded("apply")
    assert pauses.allow("apply", now)


def test_file_is_applied_once_it_has_stayed_the_same(drift: Drift, state: State) -> None:
    assert cause(drift, state) is None
    path = drift.settings.declaration
    for half in ("replicas: ", "replicas: 3\nsti", "replicas: 3\nsticky: header\n"):
        path.write_text(half)
        assert cause(drift, state) is None
    assert "was edited" in str(cause(drift, state))
    path.write_text("replicas: 3, 4\n")
    assert cause(drift, state) is None
    assert "replicas is '3, 4'" in str(cause(drift, state))
    path.unlink()
    assert cause(drift, state) is None
    assert "is gone" in str(cause(drift, state))


def test_moved_channel_and_leftovers_count_when_they_are_seen_twice(drift: Drift, state: State) -> None:
    assert [cause(drift, state, live="b" * 64) is None for _ in range(2)] == [True, False]
    assert [cause(drift, state, live=state.live) is None for _ in range(2)] == [True, True]
    left = [cause(drift, state, "aaaaaaaa-7") for _ in range(2)]
    assert (left[0], "aaaaaaaa-7 is left of a killed command" in str(left[1])) == (None, True)
    gone = replace(state, size=2, replicas=(*state.replicas, Replica("aaaaaaaa-1", LIVE, 8101)))
    drift.settings.declaration.write_text("replicas: 2\n")
    found = [cause(drift, gone) for _ in range(3)]
    assert "nothing would restart aaaaaaaa-1" in str(found[-1])


LIVE = "a" * 64


@pytest.fixture
def state() -> State:
    return State(size=1, live=LIVE, replicas=(Replica("aaaaaaaa-0", LIVE, 8100),))


@pytest.fixture
def drift(tmp_path: Path) -> Drift:
    """Of a fleet whose Envoy does not answer, and whose file says what runs."""
    settings = Settings(store="store", verify_keys=tuple, root=tmp_path)
    settings.declaration.write_text("replicas: 1\n")
    found = Drift(settings, Proxy(settings))
    found.content = settings.declaration.read_bytes()
    return found


def cause(drift: Drift, state: State, *others: str, live: str | None = None) -> str | None:
    running = ProcessState("RUNNING", 1, 0)
    names = (reconciler.NAME, "page", "envoy-0-0", "envoy-1-3", "aaaaaaaa-0", *others)
    repair, change = drift.found(state, live, dict.fromkeys(names, running))
    return ", ".join(each.why for each in (repair, change) if each) or None
