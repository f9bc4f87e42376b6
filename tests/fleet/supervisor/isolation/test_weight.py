"""The cgroup of a fleet: files that stand for those of the kernel, and the real one of this machine."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from contract.environment.cgroups import Place, places
from contract.errors import ConfigurationError
from fleet.configuration.settings import Settings
from fleet.control.keepers import Keepers
from fleet.isolation import weight
from fleet.isolation.weight import GROUP
from fleet.supervisor import processes
from fleet.supervisor.supervision import Supervisor
from tests.fleet.conftest import FleetCommand


def found(monkeypatch: pytest.MonkeyPatch, place: Place) -> None:
    monkeypatch.setattr(weight, "places", lambda: {"cpu": place})


@pytest.mark.parametrize(("given", "shares"), [(10_000, "102400"), (100, "1024")])
def test_command_runs_in_a_cgroup_with_shares_for_its_weight(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: int, shares: str
) -> None:
    found(monkeypatch, Place(1, tmp_path))
    words, lacking = weight.within(given)
    done = subprocess.run([*words, "sh", "-c", "echo $$"], capture_output=True, text=True, check=True)
    files = {path.name: path.read_text() for path in (tmp_path / GROUP).iterdir()}
    assert (files, lacking) == ({"cpu.shares": shares, "cgroup.procs": done.stdout}, "")


def test_command_runs_below_a_cgroup_of_its_weight_under_v2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found(monkeypatch, Place(2, tmp_path))
    (tmp_path / "cgroup.procs").touch()
    words, lacking = weight.within(10_000)
    done = subprocess.run([*words, "sh", "-c", "echo $$"], capture_output=True, text=True, check=True)
    files = {str(path.relative_to(tmp_path)): path.read_text() for path in tmp_path.rglob("*") if path.is_file()}
    assert lacking == ""
    assert files == {
        "cgroup.procs": "",
        "cgroup.subtree_control": "+cpu",
        f"{GROUP}/cgroup.subtree_control": "+cpu",
        f"{GROUP}/cpu.weight": "10000",
        f"{GROUP}/members/cgroup.procs": done.stdout,
    }


@pytest.mark.parametrize(
    ("place", "lacking"),
    [
        (None, "no cgroup file system with the controller cpu"),
        (Place(1, Path(GROUP)), ""),
        (Place(2, Path(GROUP)), ""),
        (Place(1, Path("file")), "{root}/file: Not a directory"),
        (Place(2, Path("busy")), "{root}/busy: it has processes of its own, as a container's has"),
    ],
)
def test_command_stays_where_it_is_and_the_reason_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: Place | None, lacking: str
) -> None:
    (tmp_path / GROUP).mkdir()  # it is in the cgroup already
    (tmp_path / "file").touch()  # none can be made
    (tmp_path / "busy").mkdir()
    for name, text in (("cgroup.type", "domain"), ("cgroup.procs", "1\n")):
        (tmp_path / "busy" / name).write_text(text)
    given = {"cpu": Place(place.version, tmp_path / place.directory)} if place else {}
    monkeypatch.setattr(weight, "places", lambda: given)
    words, found = weight.within(10_000)
    assert words == []
    assert found.startswith(lacking.format(root=tmp_path)) if lacking else not found


def test_fleet_says_that_it_has_no_weight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weight, "places", dict)
    told: list[str] = []
    settings = Settings("store", tuple, tmp_path, weight=10_000)
    assert Keepers(settings, Supervisor(tmp_path), told.append).weighed() == []
    assert told == [
        "the fleet has an equal share of the CPU in spite of BULKHEAD_FLEET_WEIGHT: no cgroup file system with the controller cpu"
    ]
    assert Keepers(replace(settings, weight=None), Supervisor(tmp_path), told.append).weighed() == []
    assert len(told) == 1


LOOP = """
import os, sys, time
os.sched_setaffinity(0, [int(sys.argv[1])])
print("ready", flush=True)
begin = float(sys.stdin.readline())
time.sleep(max(0, begin - time.monotonic()))
before = time.process_time()
while time.monotonic() < begin + 2:
    pass
print(time.process_time() - before)
"""


def test_command_gets_the_cpu_before_others_on_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weight, "GROUP", f"{GROUP}-test-{os.getpid()}")
    words, lacking = weight.within(10_000)
    if lacking:
        pytest.skip(lacking)
    try:
        loop = [sys.executable, "-c", LOOP, str(min(os.sched_getaffinity(0)))]
        # A session each: the kernel would share the time of one between them (sched(7), autogroup).
        both = [
            subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)
            for command in ([*words, *loop], loop)
        ]
        assert [process.stdout.readline() for process in both] == ["ready\n"] * 2
        begin = f"{time.monotonic() + 1}\n"
        for process in both:
            process.stdin.write(begin)
            process.stdin.flush()
        weighed_s, other_s = (float(process.communicate()[0]) for process in both)
    finally:
        weight.forget()
    assert weighed_s > 5 * other_s


def test_weight_is_read_from_the_environment() -> None:
    assert Settings.read({}).weight is None
    assert Settings.read({"BULKHEAD_FLEET_WEIGHT": "100"}).weight == 100
    assert Settings.read({"BULKHEAD_FLEET_WEIGHT": "none"}).weight is None
    with pytest.raises(ConfigurationError, match=r"^BULKHEAD_FLEET_WEIGHT is '0'; allowed are none and whole numbers"):
        Settings.read({"BULKHEAD_FLEET_WEIGHT": "0"})


def test_all_of_a_fleet_is_in_its_cgroup_where_this_user_can_make_one(
    new_fleet: FleetCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BULKHEAD_FLEET_WEIGHT", "10000")
    if lacking := weight.within(weight.USUAL)[1]:
        pytest.skip(lacking)
    place = places()["cpu"]
    new_fleet("up", "--size", "1")
    before = new_fleet.processes()
    inside = {int(process) for process in (weight.members_of(place) / "cgroup.procs").read_text().split()}
    assert {process for process in before - inside if processes.lives(process)} == set()
    shares = {1: ("cpu.shares", "102400"), 2: ("cpu.weight", "10000")}
    name, value = shares[place.version]
    assert (place.directory / GROUP / name).read_text().strip() == value
