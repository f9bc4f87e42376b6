"""The fleet on a store in a bucket: fetched, verified, deployed; replicas run from this machine's copy."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from contract.store import Store
from tests import servers
from tests.fleet.conftest import KEY, PROJECT, Bundles, FleetCommand
from tests.fleet.test_fleet import SMOKE
from tests.ports import free_ports


@pytest.fixture
def bucket_fleet(bundles: Bundles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FleetCommand]:
    import fsspec

    with servers.s3() as environment:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        fsspec.filesystem("s3", skip_instance_cache=True).mkdir("models")
        store = Store("s3://models/bulkhead", private_key=KEY, cache=tmp_path / "training")
        command = FleetCommand(store, tmp_path / "var", *free_ports(2), bundles)
        yield command
        command.run("down")


def test_bundle_is_deployed_from_a_bucket(bucket_fleet: FleetCommand) -> None:
    fleet = bucket_fleet
    digest = fleet.store.put(fleet.bundles.source)
    fleet.store.move("candidate", digest, expected=None, by="publish")
    fleet("up", "--size", "1")
    status = fleet("deploy", "candidate")
    assert (status["live"]["digest"], status["ready"]) == (digest, True)
    assert fleet.store.resolve("live") == digest

    def output(*command: str) -> str:
        done = subprocess.run(command, env=fleet.environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    output(*SMOKE)
    assert output(str(PROJECT / "bin" / "bundle"), "verify", "live").startswith("ok: ")
    (row,) = json.loads(output(str(PROJECT / "bin" / "store"), "list", "--json"))["bundles"]
    assert (row["digest"], row["channels"]) == (digest, ["candidate", "live"])
    path = Path(output(str(PROJECT / "bin" / "store"), "path", "live").strip())
    assert path.parent == Path(os.path.realpath(fleet.root / "bundles"))
    assert output(str(PROJECT / "bin" / "store"), "gc", "--grace-hours", "0") == "nothing to delete\n"
