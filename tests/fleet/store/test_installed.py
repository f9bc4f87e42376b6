"""Replicas run what was verified, whatever happens to the store, to their own copy, or to the environment that `make` made."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from contract.bundle import manifest, signature
from contract.errors import BundleError
from contract.store.store import Store
from fleet.store.installed import Installed
from harness.ports import free_ports
from harness.projects import fleet_project
from harness.waiting import until
from tests.contract.conftest import write_bundle
from tests.fleet.conftest import FleetCommand


def test_changed_code_in_the_store_does_not_run_when_replicas_are_killed(fleet: FleetCommand, tmp_path: Path) -> None:
    status = fleet.serve(fleet.bundles.first, size=2)
    stored = Path(fleet.store.location) / "bundles" / fleet.bundles.first
    with code_changed(stored, tmp_path / "ran"), fleet.under_load() as load:
        for entry in status["replicas"]:
            os.kill(entry["pid"], signal.SIGKILL)
            until(lambda: fleet.run("status").returncode == 0, "all replicas to be ready")
        assert len(fleet("scale", "3")["replicas"]) == 3
    load.check(fleet.bundles.first)
    assert not (tmp_path / "ran").exists()


def test_replica_is_not_started_and_status_says_why_when_its_copy_is_changed(
    fleet: FleetCommand, tmp_path: Path
) -> None:
    first, second = fleet.serve(fleet.bundles.first, size=2)["replicas"]
    copy = fleet.root / "fleet" / "bundles" / fleet.bundles.first
    with code_changed(copy, tmp_path / "ran"), fleet.under_load() as load:
        os.kill(first["pid"], signal.SIGKILL)
        until(lambda: refused(fleet, first["name"]), "the launcher to refuse")
        ready = {entry["name"]: entry["ready"] for entry in status(fleet)["replicas"]}
        assert ready == {first["name"]: False, second["name"]: True}
        fleet.run("up")
        until(lambda: fleet.run("status").returncode == 0, "the replica to return")
    load.check(fleet.bundles.first)
    assert not refused(fleet, first["name"])
    assert not (tmp_path / "ran").exists()


def test_bundle_is_verified_once_by_a_command_and_anew_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, digests = Store(str(tmp_path / "store")), manifest.tree_digests
    trees: list[Path] = []
    write_bundle(tmp_path / "bundle")
    digest = store.put(tmp_path / "bundle")
    monkeypatch.setattr(manifest, "tree_digests", lambda root: trees.append(root) or digests(root))
    for count in (1, 2):
        command = Installed(tmp_path / "fleet", Store(store.location))
        assert {command.bundle(digest) for _ in range(3)} == {tmp_path / "fleet" / "bundles" / digest}
        assert len(trees) == count


def test_signature_is_verified_again_only_where_its_verdict_could_differ(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, other = signature.make_key(), signature.make_key()
    keys, verified, verify = [signature.public_key_of(key)], [], signature.verify
    write_bundle(tmp_path / "bundle")
    digest = Store(str(tmp_path / "store"), private_key=key).put(tmp_path / "bundle")
    monkeypatch.setattr(signature, "verify", lambda path, trusted: verified.append(path) or verify(path, trusted))

    def verifications() -> int:
        verified.clear()
        store = Store(str(tmp_path / "store"), trusted=lambda: keys)
        Installed(tmp_path / "fleet", store, lambda: keys).bundle(digest)
        return len(verified)

    copy = tmp_path / "fleet" / "bundles" / digest
    assert verifications() > 0
    assert verifications() == 0
    keys.append(signature.public_key_of(other))
    assert verifications() > 0
    assert verifications() == 0
    (copy / "bundle.sig").chmod(0o600)
    (copy / "bundle.sig").write_bytes(b"{}")
    assert verifications() > 0  # and the copy is made anew
    file = next(path for path in (copy / "src").rglob("*") if path.is_file())
    file.chmod(0o600)
    file.write_bytes(file.read_bytes() + b" ")
    assert verifications() > 0
    assert manifest.verify(copy, digest)
    keys[:] = [signature.public_key_of(other)]
    with pytest.raises(BundleError, match="does not verify"):
        verifications()


@pytest.fixture
def elsewhere(fleet: FleetCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FleetCommand]:
    """A fleet in a project of its own, with environments of its own, without the network and whatever has been downloaded."""
    project = fleet_project(tmp_path / "project")
    monkeypatch.setenv("BULKHEAD_VAR", str(tmp_path / "var"))  # `make` rejects the project's own, too long for sockets
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    python = str(project / ".venv" / "fleet" / "bin" / "python")
    command = FleetCommand(fleet.store, tmp_path / "var", *free_ports(2), fleet.bundles, python)
    yield command
    command.run("down")


def test_replicas_serve_and_return_and_are_gone_back_to_when_make_has_made_an_environment_of_another_lock(
    elsewhere: FleetCommand, tmp_path: Path
) -> None:
    first, second = elsewhere.bundles.first, elsewhere.bundles.second
    elsewhere.serve(first, size=1)
    elsewhere("deploy", second)
    lock = tmp_path / "project" / "requirements" / "serving.txt"
    lock.write_text("# of another bundle\n")
    with elsewhere.under_load() as load:
        make = ["make", ".venv/serving/installed.txt", f"PYTHON={sys.executable}"]
        subprocess.run(make, cwd=tmp_path / "project", check=True, capture_output=True)
        assert elsewhere("rollback")["live"]["digest"] == first
    load.check(first, second)
    elsewhere("down")
    assert elsewhere("up")["ready"]
    assert elsewhere("deploy", second)["ready"]


def test_environment_stays_as_it_was_when_make_cannot_have_the_next_one(
    elsewhere: FleetCommand, tmp_path: Path
) -> None:
    project = tmp_path / "project"
    before = (project / ".venv" / "serving" / "installed.txt").read_text()
    (project / "requirements" / "serving.txt").write_text(f"no-such-package==1 --hash=sha256:{'0' * 64}\n")
    make = ["make", ".venv/serving/installed.txt", f"PYTHON={sys.executable}"]
    assert subprocess.run(make, cwd=project, check=False, capture_output=True).returncode
    assert (project / ".venv" / "serving" / "installed.txt").read_text() == before
    python = project / ".venv" / "serving" / "bin" / "python"
    subprocess.run([python, "-c", "import bentoml"], check=True, env=os.environ | {"BENTOML_DO_NOT_TRACK": "true"})


def test_nothing_of_a_fleet_can_be_written_by_others(fleet: FleetCommand) -> None:
    fleet.serve(fleet.bundles.first, size=1)
    assert (fleet.root / "fleet").stat().st_mode & 0o077 == 0
    modes = {}
    for path in (fleet.root / "fleet").rglob("*"):
        with suppress(FileNotFoundError):  # of the reconciler, which writes files whole, under another name first
            modes[path] = path.lstat().st_mode
    assert [path for path, mode in modes.items() if mode & 0o002 and not stat.S_ISLNK(mode)] == []


def test_half_made_copy_is_removed_by_the_next_command_when_one_was_killed(fleet: FleetCommand) -> None:
    fleet.serve(fleet.bundles.first, size=1)
    left = [fleet.root / "fleet" / folder / ".incoming-0123" for folder in ("bundles", "environments")]
    for directory in left:
        (directory / "src").mkdir(parents=True)
        directory.chmod(0o500)
    assert fleet("up")["ready"]
    assert not any(directory.exists() for directory in left)


def status(fleet: FleetCommand) -> dict[str, Any]:
    """As it is now, ready or not."""
    found: dict[str, Any] = json.loads(fleet.run("status").stdout)
    return found


def refused(fleet: FleetCommand, name: str) -> bool:
    """Whether the status says of this replica that its code is changed."""
    found = [problem for problem in status(fleet)["problems"] if problem.startswith(f"{name} is not started")]
    return bool(found) and "src/bentos/core.py': changed" in found[0]


@contextmanager
def code_changed(bundle: Path, marker: Path) -> Iterator[None]:
    """A bundle whose code leaves a mark when it is run, as long as nobody makes it anew."""
    path = bundle / "src" / "bentos" / "core.py"
    right = path.read_bytes()
    path.chmod(0o600)
    path.write_bytes(right + f"\nopen({str(marker)!r}, 'w').close()\n".encode())
    try:
        yield
    finally:
        path.chmod(0o600)
        path.write_bytes(right)
        path.chmod(0o444)
