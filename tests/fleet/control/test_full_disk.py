"""A fleet whose disk is full, or may not be written to: a command ends with one line and changes nothing, and what serves serves on."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from harness.ports import free_ports
from harness.waiting import until
from tests.faults import disks
from tests.fleet.conftest import FleetCommand


@pytest.fixture
def small(fleet: FleetCommand, tmp_path: Path) -> Iterator[FleetCommand]:
    """A fleet with a disk of its own, of which the environments take nothing."""
    with disks.needed(tmp_path / "var", megabytes=24) as disk:
        (disk / "fleet").mkdir(mode=0o700)
        (tmp_path / "environments").mkdir()
        (disk / "fleet" / "environments").symlink_to(tmp_path / "environments")
        command = replace(fleet, root=disk)
        command.http_port, command.grpc_port = free_ports(2)
        command.serve(command.bundles.first, size=1)
        yield command
        command.run("down")


def refuse(fleet: FleetCommand, code: int, reason: str) -> None:
    before = fleet("status")
    for command in (("deploy", fleet.bundles.second), ("scale", "2")):
        refused = fleet.run(*command)
        message = json.loads(refused.stdout)["error"]["message"]
        assert (refused.returncode, "Traceback" in refused.stderr) == (code, False), refused.stderr
        assert (reason in message, "\n" in message) == (True, False), message
        until(lambda: fleet.run("status").returncode == 0, "what served to serve")
    assert fleet("status") == before


def test_command_says_so_and_changes_nothing_when_the_disk_is_full(small: FleetCommand) -> None:
    ballast = small.root / "ballast"
    with small.under_load(pause_s=0.05) as load:
        with ballast.open("wb", buffering=0) as stream, pytest.raises(OSError, match="No space left"):
            while True:
                stream.write(bytes(4096))
        refuse(small, 75, "No space left on device")
        ballast.unlink()
        assert small("deploy", small.bundles.second)["ready"]
    load.check(small.bundles.first, small.bundles.second)


def test_command_says_so_and_changes_nothing_when_the_disk_is_read_only(small: FleetCommand) -> None:
    reconciler, sign = small.pids("reconciler"), small.root / "fleet" / "reconciler.alive"
    with small.under_load(pause_s=0.05) as load:
        with disks.read_only(small.root):
            refuse(small, 78, "Read-only file system")
            until(lambda: time.time() - sign.stat().st_mtime > 11, "the reconciler's last sign of life to be old")
            assert small("status")["ready"]
            assert small.pids("reconciler") == reconciler
        assert len(small("scale", "2")["replicas"]) == 2
    load.check(small.bundles.first)
