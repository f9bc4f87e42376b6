"""Fixtures over one real bundle, given by BULKHEAD_TEST_BUNDLE: its core in this process, and a `bentoml serve` of it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bentos.core import Core
from bentos.http_app import HttpApp
from contract import manifest
from contract.schema import FeatureSchema, Field
from tests.bentos.caller import Caller
from tests.ports import free_ports

VARIABLE = "BULKHEAD_TEST_BUNDLE"
START_TIMEOUT_S = 60


@dataclass(frozen=True)
class Case:
    """What the tests know about the bundle's model, read from its files."""

    bundle: Path
    version: str
    schema: FeatureSchema
    rows: list[dict[str, Any]]
    answers: list[dict[str, Any]]

    @property
    def row(self) -> dict[str, Any]:
        """A complete row, to be spoiled."""
        return dict(self.rows[0])

    def field(self, *, kind: str, required: bool | None = None, bounded: bool = False) -> Field:
        """A field of that sort; skips the test where the model has none."""
        for field in self.schema.fields:
            if field.kind == kind and required in (None, field.required) and (not bounded or field.maximum is not None):
                return field
        pytest.skip(f"the model has no such {kind}")


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    given = os.environ.get(VARIABLE)
    if not given:
        pytest.skip(f"{VARIABLE} is not set; `make test` sets it to a bundle that the pipeline built")
    target = tmp_path_factory.mktemp("bundle") / "bundle"
    shutil.copytree(given, target)
    return target


@pytest.fixture(scope="session")
def case(bundle: Path) -> Case:
    artifact = bundle / manifest.ARTIFACT
    golden = json.loads((artifact / "golden.json").read_bytes())
    return Case(
        bundle,
        manifest.digest_of(bundle),
        FeatureSchema.from_bytes((artifact / "schema.json").read_bytes()),
        [entry["row"] for entry in golden],
        [entry["answer"] for entry in golden],
    )


@pytest.fixture(scope="session")
def loaded_core(bundle: Path) -> Core:
    return Core.load(bundle)


@pytest.fixture
def core(loaded_core: Core) -> Core:
    loaded_core.ready = True
    return loaded_core


@pytest.fixture
def http(core: Core) -> Caller:
    """The HTTP application, called without a server."""
    return Caller(HttpApp(core))


@dataclass
class Server:
    """A running `bentoml serve`."""

    http: str
    grpc: str
    process: subprocess.Popen[bytes]
    log: Path
    admin: str = ""  # where it has an admin port

    @property
    def workers(self) -> list[int]:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        return [int(pid) for pid in children if b"bentos.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()]

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


def start_server(bundle: Path, directory: Path, command: list[str] | None = None) -> Server:
    """`bentoml serve` of the bundle, or `command`, in a directory, waited for until /readyz says yes."""
    http_port, grpc_port = free_ports(2)
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "BENTOML", "BULKHEAD"))}
    environment = {
        **kept,
        "BENTOML_HOME": str(directory / "home"),
        "BENTOML_DO_NOT_TRACK": "true",
        "BENTOML_PORT": str(http_port),
        "BULKHEAD_GRPC_PORT": str(grpc_port),
    }
    log = directory / "server.log"
    command = command or [sys.executable, "-m", "bentoml", "serve", str(bundle), "--host", "127.0.0.1"]
    with log.open("wb") as stream:
        process = subprocess.Popen(command, cwd=directory, env=environment, stdout=stream, stderr=stream)
    server = Server(f"127.0.0.1:{http_port}", f"127.0.0.1:{grpc_port}", process, log)
    _wait_until_ready(server)
    return server


def _wait_until_ready(server: Server) -> None:
    host, port = server.http.split(":")
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and server.process.poll() is None:
        try:
            with socket.create_connection((host, int(port)), 1) as connection:
                connection.settimeout(5)
                connection.sendall(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                if connection.recv(100).startswith(b"HTTP/1.1 200"):
                    return
        except OSError:
            pass
        time.sleep(0.05)
    server.process.kill()
    server.process.wait()
    pytest.fail(f"the server did not become ready:\n{server.log.read_text()[-4000:]}")


@pytest.fixture(scope="session")
def server(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = start_server(bundle, tmp_path_factory.mktemp("server"))
    yield running
    running.stop()
