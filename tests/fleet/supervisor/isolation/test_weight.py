"""The cgroup of a fleet: files that stand for those of the kernel, and the real one of this machine."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from contract.environment.cgroups import Place, places
from contract.errors import ConfigurationError
from fleet.configuration.settings import Settings
from fleet.isolation import weight
from fleet.supervisor import processes
from tests.fleet.conftest import FleetCommand


def found(monkeypatch: pytest.MonkeyPatch, place: Place) -> None:
    monkeypatch.setattr(weight, "places", lambda: {"cpu": place})


@pytest.mark.parametrize(("given", "shares"), [(10_000, "102400"), (100, "1024")])
def test_command_runs_in_a_cgroup_with_shares_for_its_weight(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: int, shares: str
) -> None:
    found(monkeypatch, Place(1, tmp_path))
    done = subprocess.run([*weight.within(given), "sh", "-c", "echo $$"], capture_output=True, text=True, check=True)
    files = {path.name: path.read_text() for path in (tmp_path / "bulkhead-fleet").iterdir()}
    assert files == {"cpu.shares": shares, "cgroup.procs": done.stdout}


@pytest.mark.parametrize("place", [Place(1, Path("bulkhead-fleet")), Place(2, Path()), Place(1, Path("file"))])
def test_command_stays_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: Place) -> None:
    (tmp_path / "bulkhead-fleet").mkdir()  # it is in the cgroup already
    (tmp_path / "file").touch()  # none can be made
    found(monkeypatch, Place(place.version, tmp_path / place.directory))
    assert weight.within(10_000) == []


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
    place = places().get("cpu")
    if place is None or place.version != 1 or not os.access(place.directory, os.W_OK):
        pytest.skip("no cgroup of v1 can be made for the CPU")
    new_fleet("up", "--size", "1")
    before = new_fleet.processes()
    inside = {int(process) for process in (place.directory / weight.GROUP / "cgroup.procs").read_text().split()}
    assert {process for process in before - inside if processes.lives(process)} == set()
    assert (place.directory / weight.GROUP / "cpu.shares").read_text().strip() == "102400"
