from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import pytest

from fleet.configuration.settings import Settings
from fleet.configuration.state import Replica, State
from fleet.control import program, reconciler
from fleet.control.watch import Seen, Watch
from fleet.envoy.proxy import Host
from fleet.supervisor import heartbeat
from fleet.supervisor.supervision import ProcessState

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


def test_reconciler_does_not_look_when_its_heartbeat_is_old_or_missing(tmp_path: Path) -> None:
    assert not heartbeat.looks(tmp_path)
    heartbeat.begin(tmp_path)
    assert heartbeat.looks(tmp_path)
    old = time.time() - 60
    os.utime(tmp_path / "reconciler.alive", (old, old))
    assert not heartbeat.looks(tmp_path)


def test_reconciler_goes_on_when_the_disk_of_its_log_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    full = Path("/dev/full").open("w")  # noqa: SIM115  # closing it fails
    with monkeypatch.context() as patched:
        patched.setattr("sys.stdout", full)
        reconciler._say("envoy-0 does not answer")
    with pytest.raises(OSError, match="No space left"):  # so it was full
        full.close()


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
    assert watch.failing(programs, state, envoy) == []  # type: ignore[arg-type]
    envoy.counts = {"one": (100, 60), "two": (100, 0)}
    assert watch.failing(programs, state, envoy) == ["one"]  # type: ignore[arg-type]
    assert watch.failing(programs, state, envoy) == []  # type: ignore[arg-type]
