"""A fleet whose replicas ask for an API key and have admin ports: the fleet itself and the smoke test send a key, and Envoy passes the
callers' on, but leads nobody to the pages."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from harness.ports import free_ports
from tests.fleet.conftest import FleetCommand
from tests.fleet.control.test_fleet import SMOKE, ask

KEY = "k" * 40


@pytest.fixture
def guarded(fleet: FleetCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FleetCommand]:
    """A fleet of its own, beside the others', under an environment that names a file of keys."""
    (tmp_path / "keys").write_text(KEY)
    monkeypatch.setenv("BULKHEAD_API_KEYS_FILE", str(tmp_path / "keys"))
    monkeypatch.setenv("BULKHEAD_ADMIN_PORT", "18500")
    command = FleetCommand(fleet.store, tmp_path / "var", *free_ports(2), fleet.bundles)
    yield command
    command.run("down")


def status_of(port: int, path: str) -> int:
    connection = HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("GET", path, headers={"Authorization": f"Bearer {KEY}"})
        return connection.getresponse().status
    finally:
        connection.close()


def test_fleet_and_smoke_test_send_a_key_when_replicas_ask_for_one(
    guarded: FleetCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    (replica,) = guarded.serve(guarded.bundles.first, size=1)["replicas"]
    assert replica["admin_port"] >= 18500
    for port, status in ((replica["admin_port"], 200), (guarded.http_port, 404)):
        assert status_of(port, "/metrics") == status
    code, answer = ask(guarded.http_port, body=guarded.golden_request())
    assert (code, answer["error"]["code"]) == (401, "unauthorized")
    asked = subprocess.run(SMOKE, env=guarded.environment, capture_output=True, text=True, check=False)
    assert asked.returncode == 0, asked.stdout + asked.stderr
    monkeypatch.delenv("BULKHEAD_API_KEYS_FILE")
    assert subprocess.run(SMOKE, env=guarded.environment, capture_output=True, check=False).returncode
