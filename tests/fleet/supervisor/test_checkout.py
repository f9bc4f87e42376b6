"""The fleet, started from a checkout that it cannot write to, in a directory with an odd name."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from harness import PROJECT
from harness.ports import free_ports
from tests.faults.places import ODD
from tests.fleet.conftest import FleetCommand


@dataclass
class Checkout:
    """Commands in a checkout that is mounted read-only for them."""

    path: Path
    fleet: FleetCommand

    def run(self, *command: str) -> str:
        sandbox = ["bwrap", "--dev-bind", "/", "/", "--ro-bind", str(self.path), str(self.path)]
        done = subprocess.run(
            [*sandbox, *command],
            cwd=self.path,
            env=self.fleet.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


@pytest.fixture
def checkout(fleet: FleetCommand, tmp_path: Path) -> Iterator[Checkout]:
    project = tmp_path / ODD
    for name in ("bin", "bentos", "contract", "fleet"):
        shutil.copytree(PROJECT / name, project / name, ignore=shutil.ignore_patterns("__pycache__"))
    (project / ".venv").symlink_to(Path(sys.prefix).parent)
    http_port, grpc_port = free_ports(2)
    made = Checkout(project, replace(fleet, root=tmp_path / "state", http_port=http_port, grpc_port=grpc_port))
    try:
        made.run("true")
    except (AssertionError, FileNotFoundError):
        pytest.skip("bubblewrap does not work here")
    yield made
    made.run("bin/fleet", "down")


def test_fleet_and_store_work_from_a_checkout_that_is_read_only(checkout: Checkout) -> None:
    first = checkout.fleet.bundles.first
    assert first[:12] in checkout.run("bin/store", "list")
    checkout.run("bin/fleet", "up", "--size", "1")
    checkout.run("bin/fleet", "deploy", first)
    assert f"model {first[:12]}" in checkout.run(".venv/serving/bin/python", "bin/smoke")
