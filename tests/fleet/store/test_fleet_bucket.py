"""The fleet on a store in a bucket: fetched, verified, deployed; replicas run from this machine's copy."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from contract.store.providers import Bucket
from contract.store.store import Store
from fleet.store import retention
from fleet.store.report import rows
from fleet.store.retention import Rule
from harness import PROJECT, object_stores
from harness.ports import free_ports
from tests.contract.conftest import write_bundle
from tests.fleet.conftest import KEY, Bundles, FleetCommand
from tests.fleet.control.test_fleet import SMOKE


@pytest.fixture(scope="module")
def bucket(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """An empty store."""
    with object_stores.s3() as environment, pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        yield Store("s3://models/bulkhead", private_key=KEY, cache=tmp_path_factory.mktemp("training"))


@pytest.fixture
def fleet(bucket: Store, bundles: Bundles, tmp_path: Path) -> Iterator[FleetCommand]:
    command = FleetCommand(bucket, tmp_path / "var", *free_ports(2), bundles)
    yield command
    command.run("down")


def test_gc_leaves_alone_what_a_channel_of_a_bucket_needs(bucket: Store, tmp_path: Path) -> None:
    for name in ("kept", "orphan", "torn"):
        write_bundle(tmp_path / name, name)
    kept, orphan, torn = (bucket.put(tmp_path / name) for name in ("kept", "orphan", "torn"))
    bucket.move("nightly", kept, expected=None, by="test")
    Bucket(bucket.location).delete(f"bundles/{torn}/manifest.json")
    (young, old) = (
        Rule(datetime.now(UTC) + timedelta(minutes=1), timedelta(hours=hours), frozenset()) for hours in (1, 0)
    )
    assert retention.find(bucket, young) == retention.Garbage((), ())
    garbage = retention.find(bucket, old)
    assert [entry.name for entry in (*garbage.bundles, *garbage.leftovers)] == [orphan, torn]
    assert retention.delete(bucket, garbage, old) == garbage
    assert (bucket.digests(), bucket.leftovers()) == ([kept], [])
    assert [row["channels"] for row in rows(bucket)] == [["nightly"]]


def test_bundle_is_deployed_from_a_bucket(fleet: FleetCommand) -> None:
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
    path = Path(output(str(PROJECT / "bin" / "store"), "path", "live").strip())
    assert path.parent == (fleet.root / "bundles").resolve()
