"""Keys with which a fleet verifies: several while one is replaced, and none that can be read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from contract.bundle import signature
from contract.store.store import Store
from harness.ports import free_ports
from tests.fleet.conftest import KEY, FleetCommand, changed
from tests.fleet.control.test_refused_bundles import raise_body_limit


@pytest.fixture
def rotating(fleet: FleetCommand, tmp_path: Path) -> Iterator[FleetCommand]:
    """A fleet of its own, with a directory of keys in which there is one."""
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "2025.pem").write_bytes(signature.public_key_of(KEY))
    command = replace(fleet, root=tmp_path / "var", verify_key=str(tmp_path / "keys"))
    command.http_port, command.grpc_port = free_ports(2)
    yield command
    command.run("down")


def test_fleet_starts_scales_and_rolls_back_when_the_signing_key_was_rotated(
    rotating: FleetCommand, tmp_path: Path
) -> None:
    first, key = rotating.bundles.first, signature.make_key()
    rotating.serve(first, size=1)
    new = changed(rotating.bundles.source, tmp_path / "new", lambda artifact: raise_body_limit(7, artifact))
    digest = Store(rotating.store.location, private_key=key).put(new)
    assert rotating.run("deploy", digest).returncode == 65  # the fleet does not know the key yet
    (tmp_path / "keys" / "2026.pem").write_bytes(signature.public_key_of(key))
    assert rotating("deploy", digest)["live"]["digest"] == digest
    assert rotating("rollback")["live"]["digest"] == first
    assert len(rotating("scale", "2")["replicas"]) == 2
    rotating("down")
    assert rotating("up", "--size", "1")["ready"]


@pytest.mark.parametrize("named", ["", "/nowhere/verify.pem"], ids=["empty", "unreadable"])
def test_status_works_and_a_deployment_is_refused_in_a_line_when_the_key_is(rotating: FleetCommand, named: str) -> None:
    rotating.serve(rotating.bundles.first, size=1)
    processes = rotating.processes()
    blind = replace(rotating, verify_key=named)
    assert blind("status")["ready"]
    for command in (("deploy", rotating.bundles.second), ("scale", "2")):
        refused = blind.run(*command)
        message = json.loads(refused.stdout)["error"]["message"]
        assert (refused.returncode, "\n" in message) == (78, False), refused.stdout
        assert "BULKHEAD_VERIFY_KEY is empty" in message or "/nowhere/verify.pem: No such file" in message
    assert rotating.processes() == processes
    assert blind("status")["ready"]
