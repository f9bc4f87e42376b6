"""What `bin/airflow-local` says, in one line, when something that it needs is missing, taken or broken."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import interpreter
from harness.ports import free_ports
from tests.dags.machine import install, processes_in, without_airflow

HAS_POSTGRESQL = bool(list(Path("/usr/lib/postgresql").glob("*/bin/initdb")))

pytestmark = pytest.mark.skipif(not interpreter("fleet").exists(), reason="needs the fleet environment beside this one")


class Site:
    """A project with a script in place of Airflow, and ports that are free."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.command = install(root, "#!/bin/sh\nexit 0\n")
        (root / ".venv" / "cluster").symlink_to(root / ".venv" / "orchestrator")
        ours = {name: value for name, value in without_airflow().items() if not name.startswith("BULKHEAD")}
        names = ("PORT", "REDIS_PORT", "POSTGRESQL_PORT")
        self.ports = dict(zip(names, free_ports(3), strict=True))
        self.environment = ours | {f"BULKHEAD_AIRFLOW_{name}": str(port) for name, port in self.ports.items()}

    def refuse(self, *words: str | Path, **environment: str) -> tuple[int, str]:
        """The exit code of a command that fails, and its one line."""
        command = [sys.executable, self.command, *words]
        given = self.environment | environment
        done = subprocess.run(command, env=given, capture_output=True, text=True, check=False)
        (line,) = done.stderr.splitlines()
        assert processes_in(self.root) == []
        return done.returncode, line


@pytest.fixture
def site() -> Iterator[Site]:
    with tempfile.TemporaryDirectory(prefix="airflow-") as directory:  # whose path is short enough for sockets
        yield Site(Path(directory))


@pytest.mark.parametrize(("words", "reason"), [(["up", "--executor", "edge"], "invalid choice"), (["upp"], "upp")])
def test_wrong_word_is_named(site: Site, words: list[str], reason: str) -> None:
    code, line = site.refuse(*words)
    assert code == 64
    assert reason in line


@pytest.mark.parametrize(("chosen", "code"), [("sqlite", 78), ("postgresql", 75)])
def test_database_that_is_gone_is_named_instead_of_a_traceback(site: Site, chosen: str, code: int) -> None:
    home = site.root / "var" / "airflow"
    home.mkdir(parents=True, mode=0o700)
    (home / "migrated").touch()
    (home / "choice.json").write_text(f'{{"database": "{chosen}", "executor": "local"}}')
    found, line = site.refuse("cli", "dags", "list")
    place = f"127.0.0.1:{site.ports['POSTGRESQL_PORT']}" if chosen == "postgresql" else str(home / "airflow.db")
    assert (found, place in line, "`bin/airflow-local up`" in line) == (code, True, True)


@pytest.mark.parametrize("name", ["PORT", "REDIS_PORT", "POSTGRESQL_PORT"])
def test_variable_that_holds_no_port_is_named(site: Site, name: str) -> None:
    code, line = site.refuse("status", **{f"BULKHEAD_AIRFLOW_{name}": "80a"})
    assert (code, f"BULKHEAD_AIRFLOW_{name} is '80a'; it must be a port" in line) == (78, True)


@pytest.mark.parametrize("text", ["{", "[]", '{"database": "oracle"}', '{"executor": "edge"}', '{"servers": 3}'])
def test_broken_choice_is_named(site: Site, text: str) -> None:
    path = site.root / "var" / "airflow" / "choice.json"
    path.parent.mkdir(parents=True, mode=0o700)
    path.write_text(text)
    code, line = site.refuse("up")
    assert (code, f"{path} is broken" in line, "remove it" in line) == (78, True, True)


def test_celery_is_refused_with_sqlite(site: Site) -> None:
    code, line = site.refuse("up", "--database", "sqlite", "--executor", "celery")
    assert (code, "--database postgresql" in line) == (64, True)


@pytest.mark.skipif(not HAS_POSTGRESQL, reason="needs Debian's postgresql")
@pytest.mark.skipif(shutil.which("redis-server") is None, reason="needs Debian's redis-server")
@pytest.mark.parametrize("name", ["PORT", "REDIS_PORT", "POSTGRESQL_PORT"])
def test_port_that_is_taken_is_named_with_its_variable(site: Site, name: str) -> None:
    with socket.create_server(("127.0.0.1", site.ports[name])):
        code, line = site.refuse("up", "--executor", "celery")
    assert code == 78
    assert f"port {site.ports[name]} is in use by another program; set BULKHEAD_AIRFLOW_{name}" in line


@pytest.mark.skipif(not HAS_POSTGRESQL, reason="needs Debian's postgresql")
def test_program_that_is_missing_is_named_with_its_package(site: Site) -> None:
    code, line = site.refuse("up", "--executor", "celery", PATH="/nowhere")
    assert code == 78
    assert "there is no program redis-server; install it, in Debian by `apt install redis-server`" in line


def test_environment_that_is_missing_is_named_with_what_makes_it(site: Site) -> None:
    (site.root / ".venv" / "cluster").unlink()
    code, line = site.refuse("up", "--database", "postgresql")
    assert (code, "run `make airflow DATABASE=postgresql EXECUTOR=local`" in line) == (78, True)


@pytest.mark.skipif(not HAS_POSTGRESQL, reason="needs Debian's postgresql")
def test_servers_last_words_are_told_when_it_does_not_start(site: Site) -> None:
    data = site.root / "var" / "airflow" / "postgresql" / "data"
    data.mkdir(parents=True, mode=0o700)
    code, line = site.refuse("up", "--database", "postgresql")
    assert code == 75
    assert "postgresql does not start: " in line
    assert f"see {site.root}/var/airflow/logs/postgresql.log" in line


def test_worker_says_what_is_wrong_with_its_file(site: Site) -> None:
    file = site.root / "worker.env"
    code, line = site.refuse("worker", file)
    assert (code, f"{file}: No such file or directory; copy it from" in line) == (78, True)
    for content in (b"AIRFLOW__CORE__EXECUTOR=CeleryExecutor\n", b"\xff\xfe\x00"):
        file.write_bytes(content)
        code, line = site.refuse("worker", file)
        assert (code, f"{file} lacks AIRFLOW__CELERY__BROKER_URL" in line) == (78, True)
    for broker in ("redis", "redis://:s3cr3t@127.0.0.1:80a/0"):
        names = ("CELERY__RESULT_BACKEND", "CORE__EXECUTION_API_SERVER_URL", "CORE__EXECUTOR")
        file.write_text("".join(f"AIRFLOW__{name}={broker}\n" for name in ("CELERY__BROKER_URL", *names)))
        code, line = site.refuse("worker", file)
        assert (code, f"AIRFLOW__CELERY__BROKER_URL of {file} has no host and port" in line) == (78, True)
        assert "s3cr3t" not in line


def test_worker_says_so_when_redis_is_gone(site: Site) -> None:
    file, address = site.root / "worker.env", f"127.0.0.1:{site.ports['REDIS_PORT']}"
    broker = f"redis://:s3cr3t@{address}"
    api = f"http://127.0.0.1:{site.ports['PORT']}/execution/"
    lines = {
        "CELERY__BROKER_URL": f"{broker}/0",
        "CELERY__RESULT_BACKEND": f"{broker}/1",
        "CORE__EXECUTOR": "CeleryExecutor",
    }
    lines["CORE__EXECUTION_API_SERVER_URL"] = api
    file.write_text("".join(f"AIRFLOW__{name}={value}\n" for name, value in lines.items()))
    code, line = site.refuse("worker", file)
    assert code == 75
    assert f"nothing answers at {address}" in line
    assert "s3cr3t" not in line
