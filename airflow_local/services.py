"""PostgreSQL and Redis of this checkout's Airflow: Debian's programs, the loopback interface, private files."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

from airflow_local.site import HOME, POSTGRESQL, POSTGRESQL_PORT, PROJECT, REDIS_PORT, STOP_LIMIT_S, Choice, secret
from contract.errors import ConfigurationError, UnavailableError
from fleet.supervisor.supervision import Program, Supervisor, write_privately

_START_LIMIT_S = 60
_DEBIAN = Path("/usr/lib/postgresql")  # where Debian keeps the programs that are not on the PATH
_ADDRESS = ("--host=127.0.0.1", f"--port={POSTGRESQL_PORT}", "--username=airflow")
_REDIS = """bind 127.0.0.1
port {port}
requirepass {password}
dir {directory}
# A queued task survives a kill.
appendonly yes
save ""
"""


def require(choice: Choice) -> None:
    """Check that the programs and the ports which the choice needs are there.

    Raises:
        ConfigurationError: one is not.
    """
    if choice.database == "postgresql":
        _postgresql("initdb")
        require_free(POSTGRESQL_PORT, "BULKHEAD_AIRFLOW_POSTGRESQL_PORT")
    if choice.executor == "celery":
        _program("redis-server", "redis-server")
        require_free(REDIS_PORT, "BULKHEAD_AIRFLOW_REDIS_PORT")


def require_free(port: int, variable: str) -> None:
    """Check that nothing listens on a port.

    Raises:
        ConfigurationError: something does.
    """
    if listens(port):
        raise ConfigurationError(f"port {port} is in use by another program; set {variable}")


def require_running(choice: Choice) -> None:
    """Check that PostgreSQL answers: Airflow's own commands would end with a traceback.

    Raises:
        UnavailableError: it does not.
    """
    if choice.database == "postgresql" and not listens(POSTGRESQL_PORT):
        raise UnavailableError(
            f"Airflow's database, PostgreSQL at 127.0.0.1:{POSTGRESQL_PORT}, does not answer; start it with `bin/airflow-local up`"
        )


def names(choice: Choice) -> list[str]:
    """Return the names of the choice's servers."""
    return ["postgresql"] * (choice.database == "postgresql") + ["redis"] * (choice.executor == "celery")


def start(choice: Choice, supervisor: Supervisor) -> None:
    """Start the servers that the choice needs, and wait until they accept connections.

    Raises:
        UnavailableError: one does not start.
    """
    if choice.database == "postgresql":
        _make_cluster()
        options = ["-h", "127.0.0.1", "-p", str(POSTGRESQL_PORT), "-c", "unix_socket_directories="]
        command = [*_unprivileged(), _postgresql("postgres"), "-D", str(POSTGRESQL / "data"), *options]
        supervisor.add(Program("postgresql", command, PROJECT, stop_limit_s=STOP_LIMIT_S))
        ready = [_postgresql("pg_isready"), "--quiet", *_ADDRESS]
        _wait("postgresql", lambda: subprocess.call(ready) == 0, supervisor)
        _make_database()
    if choice.executor == "celery":
        directory = HOME / "redis"
        directory.mkdir(mode=0o700, exist_ok=True)
        configuration = _REDIS.format(port=REDIS_PORT, password=secret("redis-password"), directory=_quoted(directory))
        write_privately(directory / "redis.conf", configuration.encode())
        command = [_program("redis-server", "redis-server"), str(directory / "redis.conf")]
        supervisor.add(Program("redis", command, PROJECT, stop_limit_s=STOP_LIMIT_S))
        _wait("redis", lambda: listens(REDIS_PORT), supervisor)


def listens(port: int, host: str = "127.0.0.1") -> bool:
    """Tell whether a program listens on a port."""
    with socket.socket() as caller:
        caller.settimeout(5)
        return caller.connect_ex((host, port)) == 0


def _make_cluster() -> None:
    """Make the directory of PostgreSQL's databases, unless it exists."""
    if (POSTGRESQL / "data").exists():
        return
    POSTGRESQL.mkdir(mode=0o700, exist_ok=True)
    secret("postgresql-password")
    shutil.rmtree(POSTGRESQL / "new", ignore_errors=True)  # of an interrupted command
    options = ["--username=airflow", "--auth=scram-sha-256", f"--pwfile={HOME / 'postgresql-password'}"]
    _run("initdb", *options, "--encoding=UTF8", "--locale=C", f"--pgdata={POSTGRESQL / 'new'}")
    (POSTGRESQL / "new").rename(POSTGRESQL / "data")


def _make_database() -> None:
    stamp = POSTGRESQL / "made"
    if not stamp.exists():
        environment = {"PGPASSWORD": secret("postgresql-password")}
        # Dropped first if an interrupted command has made it.
        _run("dropdb", *_ADDRESS, "--if-exists", "airflow", **environment)
        _run("createdb", *_ADDRESS, "airflow", **environment)
        stamp.touch()


def _run(program: str, *arguments: str, **environment: str) -> None:
    command = [*(_unprivileged() if program == "initdb" else []), _postgresql(program), *arguments]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UnavailableError(f"`{program}` failed with exit code {done.returncode}: {done.stderr.strip()}")


def _unprivileged() -> list[str]:
    """Return the words that run a command as another user than root, which PostgreSQL refuses; files stay this user's."""
    return [] if os.geteuid() else ["unshare", "--user", "--map-user=1", "--map-group=1", "--"]


def _wait(name: str, condition: Callable[[], bool], supervisor: Supervisor) -> None:
    deadline = time.monotonic() + _START_LIMIT_S
    while not condition():
        if time.monotonic() > deadline or supervisor.end_of(name):
            last = (supervisor.log(name).strip().splitlines() or ["no output"])[-1]
            raise UnavailableError(f"{name} does not start: {last}; see {HOME / 'logs' / name}.log")
        time.sleep(0.1)


def _postgresql(program: str) -> str:
    versions = sorted(_DEBIAN.glob("*/bin"), key=lambda path: int(path.parent.name.partition(".")[0]))
    return _program(program, "postgresql", str(versions[-1]) if versions else "")


def _program(name: str, package: str, directory: str = "") -> str:
    found = shutil.which(name, path=f"{directory}{os.pathsep}{os.environ.get('PATH', os.defpath)}")
    if found is None:
        raise ConfigurationError(f"there is no program {name}; install it, in Debian by `apt install {package}`")
    return found


def _quoted(path: Path) -> str:
    """Return a path as a word of Redis's configuration."""
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'
