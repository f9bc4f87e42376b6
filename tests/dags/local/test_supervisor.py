"""Whatever is killed, and however stubborn the components are: `bin/airflow-local` restarts it, or leaves nothing behind.

`airflow` is a script here that ignores SIGTERM, as does the process that it starts in a session of its own.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contract.errors import EXIT_RETRY
from harness import interpreter, processes
from harness.ports import free_ports
from harness.waiting import until
from tests.dags.machine import install, kill_all_in, processes_in, without_airflow

STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
# The API server answers for all: otherwise `up` would wait for it until its time is up.
HEALTHY = json.dumps({name: {"status": "healthy"} for name in ("metadatabase", "scheduler", "dag_processor")})
AIRFLOW = f"""#!{sys.executable}
import http.server, os, signal, sqlite3, subprocess, sys

class Health(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write({HEALTHY!r}.encode())

if sys.argv[1] == "db":
    sqlite3.connect(os.environ["AIRFLOW_HOME"] + "/airflow.db").execute("CREATE TABLE alembic_version (version_num TEXT)")
    sys.exit()
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", {STUBBORN!r}], start_new_session=True)
if sys.argv[1] == "api-server":
    http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[-1])), Health).serve_forever()
child.wait()
"""
COMPONENTS = ("api-server", "scheduler", "dag-processor")

pytestmark = pytest.mark.skipif(not interpreter("fleet").exists(), reason="needs the fleet environment beside this one")


class Site:
    """A project whose Airflow has been started."""

    def __init__(self, root: Path) -> None:
        self.root, (port,) = root, free_ports(1)
        ours = {name: value for name, value in without_airflow().items() if not name.startswith("BULKHEAD")}
        self._environment = ours | {"BULKHEAD_AIRFLOW_PORT": str(port)}
        self._command = install(root, AIRFLOW)

    def run(self, verb: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, self._command, verb]
        return subprocess.run(command, env=self._environment, check=False, capture_output=True, text=True)

    def ask(self, verb: str) -> str:
        done = self.run(verb)
        assert done.returncode == 0, done.stderr
        return done.stdout

    @property
    def states(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.run("status").stdout)["programs"]
        return found

    @property
    def supervisord(self) -> int:
        return int((self.root / "var" / "airflow" / "supervisord.pid").read_text())

    def of(self, words: str) -> set[int]:
        """The processes with these words in their command line, and this project's directory too."""
        return {int(line.split(":")[0]) for line in processes_in(self.root) if words in line}


@pytest.fixture(scope="module")
def home() -> Iterator[Site]:
    with tempfile.TemporaryDirectory(prefix="airflow-") as directory:  # whose path is short enough for sockets
        made = Site(Path(directory))
        try:
            yield made
        finally:
            kill_all_in(made.root)


@pytest.fixture
def site(home: Site) -> Site:
    """The project with everything up, which takes no time where the test before has left it so."""
    home.ask("up")
    return home


def nothing_is_left(site: Site) -> bool:
    return processes_in(site.root) == []


def is_complete(site: Site) -> bool:
    return site.states == dict.fromkeys((*COMPONENTS, "guard"), "RUNNING")


def test_components_are_started_again_when_they_are_killed(site: Site) -> None:
    before = {name: site.of(f"bin/airflow {name}") for name in COMPONENTS}
    for (process,) in before.values():
        os.kill(process, signal.SIGKILL)
    until(lambda: all(site.of(f"bin/airflow {name}") - before[name] for name in COMPONENTS), "others")
    until(lambda: is_complete(site), "all to run")
    until(lambda: site.run("status").returncode == 0, "all to be healthy")


def test_up_begins_anew_when_the_database_is_gone(site: Site) -> None:
    before = site.of("bin/airflow ")
    (site.root / "var" / "airflow" / "airflow.db").unlink()
    done = site.run("status")
    assert (done.returncode, "airflow.db, Airflow's database, is gone or broken" in done.stderr) == (EXIT_RETRY, True)
    site.ask("up")
    assert not processes.running_of(before)
    assert site.states.keys() == {*COMPONENTS, "guard"}


def test_up_takes_the_place_of_what_was_killed_altogether(site: Site) -> None:
    (guard,) = site.of("airflow_local.guard")
    before = site.of("bin/airflow ")
    os.kill(site.supervisord, signal.SIGSTOP)  # so that it starts no other guard
    os.kill(guard, signal.SIGKILL)
    os.kill(site.supervisord, signal.SIGKILL)
    assert processes.running_of(before) == before
    site.ask("up")
    assert not processes.running_of(before)
    assert site.states.keys() == {*COMPONENTS, "guard"}


def test_nothing_is_left_when_supervisord_is_killed_though_the_guard_was_killed_before(site: Site) -> None:
    (guard,) = site.of("airflow_local.guard")
    os.kill(guard, signal.SIGKILL)
    until(lambda: bool(site.of("airflow_local.guard") - {guard}), "another guard")
    os.kill(site.supervisord, signal.SIGKILL)
    until(lambda: nothing_is_left(site), "all to end", limit_s=120)


def test_nothing_is_left_when_supervisord_is_told_to_end(site: Site) -> None:
    os.kill(site.supervisord, signal.SIGTERM)
    until(lambda: nothing_is_left(site), "all to end", limit_s=120)


def test_down_ends_everything_when_supervisord_hangs(site: Site) -> None:
    os.kill(site.supervisord, signal.SIGSTOP)
    done = site.run("down")
    assert (done.returncode, done.stdout) == (0, "Airflow is stopped\n")
    assert done.stderr.startswith("supervisord does not answer: everything is ended at once")
    assert nothing_is_left(site)


def test_nothing_is_left_after_down(site: Site) -> None:
    assert "stopped" in site.ask("down")
    assert nothing_is_left(site)
    status = site.run("status")
    assert (status.returncode, json.loads(status.stdout)["running"]) == (EXIT_RETRY, False)
    assert "not running" in site.ask("down")
