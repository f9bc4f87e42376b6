"""A real fleet with a store of its own, and two bundles: the one from the pipeline, and another version of it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from contract.bundle import manifest, signature
from contract.files import canonical_json
from contract.store.store import Store
from fleet.supervisor.processes import FLEET_MARK, PROGRAM_MARK, marked, programs
from harness import PROJECT
from harness.load.hosts import Host
from harness.ports import free_ports
from harness.processes import is_leader
from harness.waiting import until
from tests.faults.places import ODD
from tests.fleet.crowds import load

VARIABLE = "BULKHEAD_TEST_BUNDLE"
KEY = signature.make_key()


def parsed(printed: str) -> dict[str, Any]:
    """Return what a command prints, without the requests in flight, which are others at each look."""
    found: dict[str, Any] = json.loads(printed)
    for replica in found.get("replicas", ()):
        replica.pop("in_flight", None)
    return found


@dataclass
class Bundles:
    """Digests of bundles in the store, and the directory that the first one came from."""

    source: Path
    first: str
    second: str


@dataclass
class FleetCommand:
    """The command `fleet` on a fleet of its own."""

    store: Store
    root: Path
    http_port: int
    grpc_port: int
    status_port: int = field(default=0, kw_only=True)
    bundles: Bundles
    python: str = sys.executable
    verify_key: str = signature.public_key_of(KEY).decode()
    host: Host | None = None  # where it runs, if not here

    @property
    def environment(self) -> dict[str, str]:
        return os.environ | {
            "BULKHEAD_STORE": self.store.location,
            "BULKHEAD_VAR": str(self.root),
            "BULKHEAD_HTTP_PORT": str(self.http_port),
            "BULKHEAD_GRPC_PORT": str(self.grpc_port),
            "BULKHEAD_STATUS_PORT": str(self.status_port),
            "BULKHEAD_REPLICA_PORT": os.environ.get("BULKHEAD_REPLICA_PORT", "18300"),
            "BULKHEAD_VERIFY_KEY": self.verify_key,
            "BULKHEAD_HOST": self.host.address if self.host else "127.0.0.1",
        }

    def run(self, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        command = [*(self.host.within if self.host else ()), self.python, "-m", "fleet", *arguments, "--json"]
        return subprocess.run(
            command,
            cwd=PROJECT,
            env=self.environment | variables,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def __call__(self, *arguments: str) -> dict[str, Any]:
        """Run a command that must succeed; the status that it prints."""
        done = self.run(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return parsed(done.stdout)

    def serve(self, reference: str, size: int) -> dict[str, Any]:
        """Up, with so many replicas of that bundle and no canary."""
        if self("up", "--size", str(size))["canary"]:
            self("rollback")
        self("deploy", reference)
        until(lambda: self.run("status").returncode == 0, "all replicas to be ready", limit_s=120)
        return self("status")

    def under_load(self, pause_s: float = 0.005) -> Any:
        return load.running(self.http_port, self.grpc_port, self.bundles.source, pause_s)

    def processes(self) -> set[int]:
        return marked({FLEET_MARK: str(self.root / "fleet")})

    def started(self) -> list[int]:
        """The processes that supervisord's programs began as, and supervisord itself: without those of sandboxes and of Envoys' shells.

        Once an Envoy has outlived its supervisord, another shell waits for its end; one of the two counts.
        """
        found = programs({FLEET_MARK: str(self.root / "fleet")})
        began = {name: [pid for pid in pids if is_leader(pid)] for name, pids in found.items()}
        return [pid for name, pids in began.items() for pid in (pids[:1] if name.startswith("envoy-") else pids)]

    def pids(self, program: str) -> list[int]:
        """The processes of one of its programs."""
        return [*marked({FLEET_MARK: str(self.root / "fleet"), PROGRAM_MARK: program})]

    def envoy(self) -> list[int]:
        """The processes of the Envoys, and their shells."""
        found = programs({FLEET_MARK: str(self.root / "fleet")})
        return [pid for name in found if name.startswith("envoy-") for pid in found[name]]

    def golden_request(self) -> str:
        golden = json.loads((self.bundles.source / manifest.ARTIFACT / manifest.GOLDEN_FILE_NAME).read_bytes())
        return json.dumps({"rows": [golden[0]["row"]]})


@pytest.fixture(scope="session", autouse=True)
def _interrupts() -> None:
    """Let commands be interrupted: a shell starts what it puts into the background with SIGINT ignored, and that is inherited."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def source() -> Path:
    given = os.environ.get(VARIABLE)
    if not given:
        pytest.skip(f"{VARIABLE} is not set; `make test` sets it to a bundle that the pipeline built")
    return Path(given)


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(str(tmp_path_factory.mktemp("store")), private_key=KEY)


@pytest.fixture(scope="session")
def bundles(source: Path, store: Store, tmp_path_factory: pytest.TempPathFactory) -> Bundles:
    def raise_limit(artifact: Path) -> None:
        limits = json.loads((artifact / "limits.json").read_bytes())
        (artifact / "limits.json").write_bytes(canonical_json(limits | {"max_rows": limits["max_rows"] + 1}))

    directory = tmp_path_factory.mktemp("bundles")
    return Bundles(
        source=source,
        first=store.put(source),
        second=store.put(changed(source, directory / "second", raise_limit)),
    )


@pytest.fixture(scope="session")
def fleet(store: Store, bundles: Bundles, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FleetCommand]:
    command = FleetCommand(store, tmp_path_factory.mktemp(ODD), *free_ports(2), bundles)
    yield command
    command.run("down")


@pytest.fixture
def new_fleet(bundles: Bundles, tmp_path: Path) -> Iterator[FleetCommand]:
    """A fleet whose store has no bundle."""
    command = FleetCommand(Store(str(tmp_path / "store"), private_key=KEY), tmp_path / "var", *free_ports(2), bundles)
    yield command
    command.run("down")


def changed(source: Path, target: Path, change: Callable[[Path], None]) -> Path:
    """A copy of a bundle with something changed in its artifact, and a manifest that is right about it."""
    shutil.copytree(source, target)
    change(target / manifest.ARTIFACT)
    claims = replace(manifest.read(target), files=manifest.tree_digests(target))
    (target / manifest.FILE_NAME).write_bytes(claims.to_bytes())
    return target


@contextmanager
def listening() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]
