"""Airflow on this machine: `bin/airflow-local up | down | status | cli ARGUMENT… | worker FILE`.

Starts the API server (with the UI), the scheduler and the DAG processor, on the loopback interface only, under supervisord, which
restarts what crashes; when supervisord ends, however it does, no process is left. If `alerts.toml` names receivers, `bin/airflow-watch`
runs beside them. `cli` passes its arguments to Airflow's own command line, with the components' settings. `worker` works in this
checkout for the Airflow of another one.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from airflow_local import database, services, site
from airflow_local.site import HOME, PORT, PROJECT, STOP_LIMIT_S, URL, Choice
from contract import command_line
from contract.environment.places import require_fit_for_state
from contract.errors import EXIT_RETRY, ConfigurationError, UnavailableError, UsageError
from contract.files import private_directory
from fleet.supervisor import processes
from fleet.supervisor.lock import exclusive
from fleet.supervisor.supervision import Program, Supervisor

_START_LIMIT_S = 300  # on a busy machine with nothing compiled; seconds else
_SERVE = ("api-server", "--host", "127.0.0.1", "--port", str(PORT))
_WORK = ("celery", "worker", "--skip-serve-logs", "--without-gossip", "--without-mingle", "--concurrency", "4")
_MARK = {processes.FLEET_MARK: str(HOME)}
_COMPONENTS = {"scheduler": ("scheduler", "--skip-serve-logs"), "dag-processor": ("dag-processor",)}


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code."""
    if arguments[:1] == ["cli"]:  # not parsed: its options are Airflow's
        return _cli(arguments[1:])
    return _parsed(arguments)()


def _parsed(arguments: list[str]) -> Callable[[], int]:
    parser = command_line.parser(
        prog="airflow-local", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="up | down | status | cli | worker")
    up = verbs.add_parser("up", help="start everything and wait until it is healthy")
    up.add_argument("--database", choices=site.DATABASES, help="default: as before; sqlite at first")
    up.add_argument("--executor", choices=site.EXECUTORS, help="default: as before; local at first")
    verbs.add_parser("down", help="end everything, tasks too")
    verbs.add_parser("status", help="print what runs, and its health, as JSON")
    verbs.add_parser("cli", help="run Airflow's own command line", add_help=False)
    worker = verbs.add_parser("worker", help="work for another checkout's Airflow, in the foreground")
    worker.add_argument("file", type=Path, help="a copy of that one's var/airflow/worker.env")
    worker.add_argument("--queues", default="default", help="default: default; `fleet` needs that one's fleet")
    options = parser.parse_args(arguments)
    commands: dict[str, Callable[[], int]] = {
        "up": lambda: _up(options.database, options.executor),
        "down": _down,
        "status": _status,
        "worker": lambda: _worker(options.file, options.queues),
    }
    return commands[options.verb]


def _up(kind_of_database: str | None, executor: str | None) -> int:
    """Start everything, unless it runs already, and wait until it is healthy."""
    before = site.chosen()
    if executor == "celery" and kind_of_database is None:
        kind_of_database = "postgresql"
    choice = Choice(kind_of_database or before.database, executor or before.executor)
    if choice == Choice("sqlite", "celery"):
        raise UsageError("Celery's workers need a database server: add `--database postgresql`")
    private_directory(HOME)
    with exclusive(HOME, command_line.tell):
        running = _supervisor().answers()
        if running and _has_lost_its_database(before):
            _end(before)
            running = False
        if not running:
            _start(choice)
        elif choice != before:
            raise ConfigurationError(
                f"Airflow runs with {before.database} and the {before.executor} executor: end it first, by `bin/airflow-local down`"
            )
    return _wait_until_healthy(choice)


def _start(choice: Choice) -> None:
    if not choice.airflow.exists():
        raise ConfigurationError(f"{choice.environment} has no Airflow; run `{_make(choice)}`")
    require_fit_for_state(HOME.parent)
    processes.end(_MARK, patience_s=STOP_LIMIT_S)  # left by a supervisord that was killed
    services.require_free(PORT, "BULKHEAD_AIRFLOW_PORT")
    services.require(choice)
    (HOME / "logs").mkdir(exist_ok=True)
    if choice.database == "sqlite":
        database.set_aside_unless_whole()
    # Made before Airflow makes its own, which it would print, and keep in a world-readable file.
    site.private(site.PASSWORDS, json.dumps({"admin": secrets.token_urlsafe(16)}))
    site.choose(choice)
    supervisor = _supervisor()
    guard = [sys.executable, "-m", "airflow_local.guard"]
    supervisor.start(site.settings(choice), Program("guard", guard, PROJECT, {"PYTHONPATH": str(PROJECT)}))
    try:
        services.start(choice, supervisor)
        database.migrate(choice)
        if choice.executor == "celery":
            site.write_worker_file()
        for name, words in _components(choice).items():
            supervisor.add(Program(name, [str(choice.airflow), *words], PROJECT, stop_limit_s=STOP_LIMIT_S))
        if site.ALERTS.exists():
            supervisor.add(Program("watch", [sys.executable, str(PROJECT / "bin" / "airflow-watch")], PROJECT))
    except BaseException:
        supervisor.shut_down()
        raise


def _components(choice: Choice) -> dict[str, tuple[str, ...]]:
    """Return the arguments of each component."""
    worker = {"worker": (*_WORK, "--queues", site.QUEUES)} if choice.executor == "celery" else {}
    return {"api-server": _SERVE, **_COMPONENTS, **worker}


def _down() -> int:
    """End everything: what runs tasks, the API server, to which ended tasks report, and then the servers that all need."""
    if not HOME.is_dir():
        print("Airflow is not running")
        return 0
    with exclusive(HOME, command_line.tell):
        if not processes.marked(_MARK):
            print("Airflow is not running")
            return 0
        _end(site.chosen())
    print("Airflow is stopped")
    return 0


def _end(choice: Choice) -> None:
    """End everything, in order where supervisord answers."""
    supervisor, servers = _supervisor(), services.names(choice)
    last = {"api-server", "guard", *servers}
    try:
        for names in (supervisor.states().keys() - last, ["api-server"], servers):
            supervisor.remove(sorted(names))
        supervisor.shut_down()
    except UnavailableError:
        command_line.tell(
            "supervisord does not answer: everything is ended at once; `up` goes on with the runs, and tries their tasks again"
        )
        processes.end(_MARK, patience_s=STOP_LIMIT_S)


def _has_lost_its_database(choice: Choice) -> bool:
    """Tell whether SQLite's file is gone or broken under a running Airflow, and say so.

    A file that is gone breaks nothing at once: components and tasks go on with it, until one opens it anew.
    """
    if choice.database != "sqlite" or database.is_whole():
        return False
    command_line.tell(
        f"{site.SQLITE}, Airflow's database, is gone or broken: `bin/airflow-local up` ends what still runs and makes a new one. Only the "
        "history of runs is lost; trigger again what was running, and what is done comes from the cache"
    )
    return True


def _status() -> int:
    """Print what runs, and its health; end with 75 unless all of it is up and healthy, as the fleet's `status` does."""
    choice, running = site.chosen(), HOME.is_dir() and _supervisor().answers()
    programs = {name: state.state for name, state in _supervisor().states().items()} if running else {}
    kinds, health = {"database": choice.database, "executor": choice.executor}, _health() if running else {}
    print(json.dumps({"running": running, "url": URL, **kinds, "programs": programs, "health": health}, indent=2))
    is_lost = running and _has_lost_its_database(choice)
    is_up = all(state == "RUNNING" for state in programs.values()) and _is_healthy(health)
    return 0 if running and is_up and not is_lost else EXIT_RETRY


def _cli(arguments: list[str]) -> int:
    """Run Airflow's own command line, such as `cli backfill create --help`."""
    if not (HOME / "migrated").exists():
        raise ConfigurationError(f"{HOME} holds no Airflow yet; run `make airflow`")
    choice = site.chosen()
    services.require_running(choice)
    database.require(choice)
    return subprocess.call([choice.airflow, *arguments], env=site.settings(choice))


def _worker(file: Path, queues: str) -> int:
    """Become a Celery worker whose tasks run in this checkout."""
    given, airflow = site.read_worker_file(file), Choice("postgresql", "celery").airflow
    if not airflow.exists():
        raise ConfigurationError(f"{airflow.parents[1]} has no Airflow; run `make .venv/cluster/installed.txt`")
    for name in ("AIRFLOW__CELERY__BROKER_URL", "AIRFLOW__CORE__EXECUTION_API_SERVER_URL"):
        host, port = site.address(given[name], f"{name} of {file}")
        if not services.listens(port, host):
            raise UnavailableError(
                f"nothing answers at {host}:{port}, {name} of {file}; is that Airflow up, and reachable from here?"
            )
    private_directory(HOME)
    environment = site.common(airflow) | {"BULKHEAD_PROJECT": str(PROJECT), "BULKHEAD_VAR": str(site.VAR)} | given
    hostname = f"{PROJECT.name}-{os.getpid()}@{os.uname().nodename}"
    os.chdir(PROJECT)
    os.execve(airflow, [str(airflow), *_WORK, "--queues", queues, "--celery-hostname", hostname], environment)  # noqa: S606


def _health() -> dict[str, str | None]:
    """Return each component's health as Airflow reports it; empty while its API server does not answer."""
    parts = _answer("/api/v2/monitor/health", limit_s=5)
    return {name: part.get("status") for name, part in parts.items() if isinstance(part, dict)}


def _is_healthy(health: Mapping[str, str | None]) -> bool:
    """Tell whether every component that is always there is healthy; a triggerer is not."""
    return all(health.get(name) == "healthy" for name in ("metadatabase", "scheduler", "dag_processor"))


def _answer(path: str, limit_s: float) -> dict[str, Any]:
    """Return the JSON that the API server answers; empty if it does not."""
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=limit_s)
    try:
        connection.request("GET", path)
        answer: dict[str, Any] = json.load(connection.getresponse())
    except (OSError, ValueError, http.client.HTTPException):
        return {}
    finally:
        connection.close()
    return answer


def _wait_until_healthy(choice: Choice) -> int:
    """Wait until every component is healthy; return the exit code."""
    deadline = time.monotonic() + _START_LIMIT_S
    supervisor = _supervisor()
    while time.monotonic() < deadline and supervisor.answers():
        # The API of tasks makes its routes at the first request, two seconds of CPU time that the first task would wait for.
        if _is_healthy(_health()) and _answer("/execution/health", limit_s=60):
            print(f"Airflow is at {URL}\n  user admin, password in {site.PASSWORDS}\n  logs in {HOME / 'logs'}")
            if choice.executor == "celery":
                print(f"  other workers: bin/airflow-local worker FILE, with a copy of {site.WORKER}")
            return 0
        time.sleep(0.2)
    command_line.tell(f"Airflow did not become healthy; see {HOME / 'logs'}")
    return EXIT_RETRY


def _make(choice: Choice) -> str:
    chosen = "" if choice == Choice() else f" DATABASE={choice.database} EXECUTOR={choice.executor}"
    return f"make airflow{chosen}"


def _supervisor() -> Supervisor:
    return Supervisor(HOME, command="bin/airflow-local up")
