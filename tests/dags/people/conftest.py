"""A real Airflow whose pipeline is a script: what people see of a run does not depend on what the run computes."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from harness import PROJECT
from harness.ports import free_ports
from tests.dags.airflow_rest import Airflow
from tests.dags.machine import processes_in, put_database, without_airflow

LINKED = ("contract", "fleet", "requirements", ".venv")
COPIED = ("bin/airflow-local", "bin/airflow-watch")
# Answers `python -m pipelines.runs …` and `bin/fleet …`. A file in `hold` that is named like a word of the command makes it wait, one in
# `fail` makes it fail with the code that it holds.
STUB = """#!/bin/sh
echo "$@" >> "$BULKHEAD_VAR/calls"
for word in "$@"; do
    while [ -f "$BULKHEAD_VAR/hold/$word" ]; do sleep 0.1; done
    if [ -f "$BULKHEAD_VAR/fail/$word" ]; then echo "as the test wants it"; exit "$(cat "$BULKHEAD_VAR/fail/$word")"; fi
    last=$word
done
printf '{"stage": "%s", "state": "ran", "facts": {"digest": "%064d", "run": "a-run", "through": "2013-01"}}\\n' "$last" 7
"""


class Receiver:
    """A webhook that keeps what it is sent."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        keep = self.messages.append

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                keep(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *arguments: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        Thread(target=self.server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/secret-of-the-hook"

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()


@dataclass(frozen=True)
class Site:
    """A project whose stages are a script, with a real Airflow."""

    root: Path
    environment: dict[str, str]
    airflow: Airflow
    receiver: Receiver

    @property
    def var(self) -> Path:
        return self.root / "var"

    def control(self, verb: str) -> None:
        subprocess.run([sys.executable, self.root / "bin" / "airflow-local", verb], env=self.environment, check=True)

    def fail(self, word: str, code: int | None) -> None:
        """Let commands with this word fail with the code; None: no more."""
        path = self.var / "fail" / word
        path.write_text(str(code)) if code else path.unlink()

    @contextmanager
    def holding(self, word: str) -> Iterator[None]:
        """Let commands with this word wait until the block ends."""
        path = self.var / "hold" / word
        path.touch()
        try:
            yield
        finally:
            path.unlink()

    def calls(self) -> list[str]:
        """The commands so far."""
        path = self.var / "calls"
        return path.read_text().splitlines() if path.exists() else []

    def watch(self, limit_s: float, *options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, self.root / "bin" / "airflow-watch", *options]
        environment = self.environment | {"BULKHEAD_PROGRESS_LIMIT_S": str(limit_s)}
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(scope="package")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    root = tmp_path_factory.mktemp("people") / "site"
    (root / "bin").mkdir(parents=True)
    for name in ("fail", "hold"):
        (root / "var" / name).mkdir(parents=True)
    for name in LINKED:
        (root / name).symlink_to(PROJECT / name)
    for name in ("airflow_local", "dags"):
        shutil.copytree(PROJECT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in COPIED:
        (root / name).write_text((PROJECT / name).read_text())
    for name in ("stub", "bin/fleet"):
        (root / name).write_text(STUB)
        (root / name).chmod(0o755)
    (root / "var" / "airflow").mkdir(mode=0o700)
    put_database(root / "var" / "airflow")
    (root / "var" / "airflow" / "airflow.cfg").write_text("[scheduler]\ntrigger_timeout_check_interval = 1\n")
    (port,) = free_ports(1)
    environment = without_airflow() | {
        "BULKHEAD_AIRFLOW_PORT": str(port),
        "BULKHEAD_VAR": str(root / "var"),
        "BULKHEAD_PIPELINE_PYTHON": str(root / "stub"),
        "BULKHEAD_APPROVAL_HOURS": "24",
    }
    receiver = Receiver()
    made = Site(root, environment, Airflow(f"http://127.0.0.1:{port}"), receiver)
    try:
        made.control("up")
        # Only now, or the watch would run beside Airflow, with a limit of its own.
        (root / "var" / "airflow" / "alerts.toml").write_text(f'webhook = "{receiver.url}"\n')
        made.airflow.log_in("admin", json.loads((root / "var" / "airflow" / "passwords.json").read_bytes())["admin"])
        yield made
    finally:
        made.control("down")
        receiver.close()
        assert processes_in(root) == []
