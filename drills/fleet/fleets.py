"""A fleet for a drill: a store with two bundles, the command `fleet`, and good callers of Envoy meanwhile."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from contract.bundle import manifest, signature
from contract.files import canonical_json
from contract.store.store import Store
from drills.callers import good
from fleet.supervisor.processes import FLEET_MARK, PROGRAM_MARK, marked, programs, send
from harness import PROJECT, interpreter
from harness.bundles import Bundle
from harness.load.hosts import Host
from harness.ports import free_ports
from harness.processes import is_leader
from harness.servers import clean_environment
from harness.waiting import until


class NotAsExpectedError(Exception):
    """A command of the fleet ended unexpectedly."""


@dataclass
class DrilledFleet:
    """The command `fleet` on a fleet of its own; `first` and `second` are bundles of its store with the same answers."""

    scratch: Path
    bundle: Path
    first: str
    second: str
    public_key: str
    private_key: bytes
    ports: list[int] = field(default_factory=lambda: free_ports(2))
    replica_port: int = 26100
    start_limit_s: float = 60.0
    python: Path = field(default_factory=lambda: interpreter("fleet"))
    host: Host | None = None  # where it runs, if not here
    weight: int | None = None  # share of the CPU beside other programs
    project: Path = PROJECT

    @property
    def store(self) -> Path:
        """The directory of its store."""
        return self.scratch / "store"

    @property
    def root(self) -> Path:
        """The directory of its state."""
        return self.scratch / "var" / "fleet"

    def put(self, bundle: Path) -> str:
        """Put a bundle into its store, signed; return the digest."""
        return Store(str(self.store), private_key=self.private_key).put(bundle)

    @property
    def environment(self) -> dict[str, str]:
        """The environment of its commands."""
        return clean_environment() | {
            "BULKHEAD_STORE": str(self.store),
            "BULKHEAD_VAR": str(self.root.parent),
            "BULKHEAD_HTTP_PORT": str(self.ports[0]),
            "BULKHEAD_GRPC_PORT": str(self.ports[1]),
            "BULKHEAD_STATUS_PORT": "0",
            "BULKHEAD_REPLICA_PORT": str(self.replica_port),
            "BULKHEAD_START_LIMIT_S": str(self.start_limit_s),
            "BULKHEAD_VERIFY_KEY": self.public_key,
            "BULKHEAD_FLEET_WEIGHT": str(self.weight or "none"),
            "BULKHEAD_HOST": self.host.address if self.host else "127.0.0.1",
        }

    @property
    def started(self) -> set[int]:
        """The processes that supervisord's programs began as, and supervisord itself."""
        found = programs({FLEET_MARK: str(self.root)})
        began = {name: [pid for pid in pids if is_leader(pid)] for name, pids in found.items()}
        # Once an Envoy has outlived its supervisord, another shell waits for its end.
        return {pid for name, pids in began.items() for pid in (pids[:1] if name.startswith("envoy-") else pids)}

    @property
    def envoys(self) -> list[str]:
        """The programs that are its Envoys."""
        return sorted(name for name in programs({FLEET_MARK: str(self.root)}) if name.startswith("envoy-"))

    def begin(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Begin a command, whatever comes of it."""
        command = [str(self.python), "-m", "fleet", *arguments]
        silent = subprocess.DEVNULL
        return subprocess.Popen(command, cwd=self.project, env=self.environment, stdout=silent, stderr=silent)

    def run(self, *arguments: str) -> tuple[int, dict[str, Any]]:
        """Run a command; return its exit code, and the status or error."""
        within = self.host.within if self.host else ()
        command = [*within, str(self.python), "-m", "fleet", *arguments, "--json"]
        done = subprocess.run(
            command, cwd=self.project, env=self.environment, capture_output=True, text=True, check=False
        )
        if not done.stdout:
            raise NotAsExpectedError(f"fleet {' '.join(arguments)} ended with {done.returncode}: {done.stderr}")
        return done.returncode, json.loads(done.stdout)

    def __call__(self, *arguments: str) -> dict[str, Any]:
        """Run a command that must succeed; return the status."""
        code, status = self.run(*arguments)
        if code:
            raise NotAsExpectedError(f"fleet {' '.join(arguments)} ended with {code}: {status}")
        return status

    def serve(self, size: int) -> None:
        """Start the fleet with so many replicas and deploy the first bundle."""
        self("up", "--size", str(size))
        self("deploy", self.first)

    def pids(self, program: str) -> set[int]:
        """Return the processes of one of its programs."""
        return marked({FLEET_MARK: str(self.root), PROGRAM_MARK: program})

    @property
    def supervisord(self) -> int:
        """The process id of supervisord."""
        return int((self.root / "supervisord.pid").read_text())

    def wait_until_ready(self, limit_s: float = 60) -> float:
        """Return the seconds until all that is wanted serves."""
        return until(lambda: self.run("status")[0] == 0, "the fleet to be ready", limit_s=limit_s)


@contextmanager
def fleets(bundle: Bundle, count: int = 1) -> Iterator[list[DrilledFleet]]:
    """Yield fleets, each with its own store; all have the default replica port."""
    made: list[DrilledFleet] = []
    with tempfile.TemporaryDirectory(prefix="drill-") as scratch:
        try:
            made += [_fleet(bundle, Path(scratch) / str(index)) for index in range(count)]
            yield made
        finally:
            for each in made:
                each.run("down")
                send(marked({FLEET_MARK: str(each.root)}), signal.SIGKILL)


def _fleet(bundle: Bundle, scratch: Path) -> DrilledFleet:
    key = signature.make_key()
    store = Store(str(scratch / "store"), private_key=key)
    first, second = store.put(bundle.path), store.put(another(bundle.path, scratch / "second"))
    return DrilledFleet(scratch, bundle.path, first, second, signature.public_key_of(key).decode(), key)


def another(source: Path, target: Path, rows: int = 1) -> Path:
    """Make another version of a bundle, which allows `rows` more rows in a request and gives the same answers; return it."""
    shutil.copytree(source, target)
    limits = target / manifest.ARTIFACT / "limits.json"
    content = json.loads(limits.read_bytes())
    limits.write_bytes(canonical_json(content | {"max_rows": content["max_rows"] + rows}))
    return corrected(target)


def corrected(bundle: Path) -> Path:
    """Correct the manifest of a bundle that was changed, and return the bundle."""
    claims = replace(manifest.read(bundle), files=manifest.tree_digests(bundle))
    (bundle / manifest.FILE_NAME).write_bytes(claims.to_bytes())
    return bundle


@contextmanager
def asked(
    fleet: DrilledFleet, rate_per_s: float, seconds: float, *versions: str, rows: int = 1, over_grpc: bool = False
) -> Iterator[dict[str, Any]]:
    """Run good callers beside the block, for at least so long; the yielded dictionary holds their counts after it.

    Args:
        versions: which may answer.
        rows: of each request.
    """
    port = fleet.ports[1 if over_grpc else 0]
    command = good.command(fleet.bundle, port, rate_per_s, seconds, rows=rows, versions=versions, over_grpc=over_grpc)
    found: dict[str, Any] = {}
    # A session of its own, as callers of another machine would have: the kernel shares the CPU among sessions (sched(7), autogroup), and a
    # caller that waits for one with a command of this drill sends a burst afterwards, of which a replica refuses a part.
    with subprocess.Popen(
        command, cwd=PROJECT, stdout=subprocess.PIPE, env=os.environ, start_new_session=True
    ) as callers:
        try:
            yield found
            found.update(json.loads(callers.communicate()[0]))
        finally:
            with suppress(OSError):
                callers.kill()
