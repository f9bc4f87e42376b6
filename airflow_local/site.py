"""Places, choices and settings of this checkout's Airflow."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

from contract.errors import ConfigurationError
from contract.files import canonical_json, write_atomically


def _port(name: str, default: int) -> int:
    text = os.environ.get(name, str(default))
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise ConfigurationError(f"{name} is {text!r}; it must be a port, 1 to 65535")
    return int(text)


DATABASES, EXECUTORS = ("sqlite", "postgresql"), ("local", "celery")
PROJECT = Path(__file__).resolve().parents[1]
VAR = PROJECT / (os.environ.get("BULKHEAD_VAR") or "var")
HOME = PROJECT / os.environ.get("BULKHEAD_AIRFLOW_HOME", str(VAR / "airflow"))
PORT = _port("BULKHEAD_AIRFLOW_PORT", 8088)
REDIS_PORT = _port("BULKHEAD_AIRFLOW_REDIS_PORT", 8089)
# Not a Unix socket below HOME: libpq takes a comma in its path for a list of hosts.
POSTGRESQL_PORT = _port("BULKHEAD_AIRFLOW_POSTGRESQL_PORT", 8090)
URL = f"http://127.0.0.1:{PORT}"
PASSWORDS = HOME / "passwords.json"
ALERTS = PROJECT / os.environ.get("BULKHEAD_ALERTS", str(HOME / "alerts.toml"))
SQLITE = HOME / "airflow.db"
POSTGRESQL = HOME / "postgresql"
WORKER = HOME / "worker.env"
STOP_LIMIT_S = 15
_PASSED = "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT"  # of Airflow's own variables: when a worker counts as lost
_OF_WORKERS = (
    "AIRFLOW__CELERY__BROKER_URL",
    "AIRFLOW__CELERY__RESULT_BACKEND",
    "AIRFLOW__CORE__EXECUTION_API_SERVER_URL",
    "AIRFLOW__CORE__EXECUTOR",
)
# A task that cannot be handed over stays in the queue while Redis is gone, where it would lose an attempt: Celery tries for longer than the
# second after which Airflow calls that a timeout, and Airflow tries again after a timeout alone.
_PATIENT = {
    "AIRFLOW__CELERY__EXTRA_CELERY_CONFIG": '{"task_publish_retry_policy": {"max_retries": null}}',
    "AIRFLOW__CELERY__TASK_PUBLISH_MAX_RETRIES": "1000000",
}
QUEUES = "default,fleet"  # the tasks of `fleet` change the fleet of this checkout


@dataclass(frozen=True)
class Choice:
    """The kinds of database and of executor, chosen at `up`."""

    database: str = "sqlite"
    executor: str = "local"

    @property
    def environment(self) -> Path:
        """The virtual environment that has what the choice needs."""
        return PROJECT / ".venv" / ("orchestrator" if self == Choice() else "cluster")

    @property
    def lock(self) -> bytes:
        """The packages of that environment."""
        return (PROJECT / "requirements" / f"{self.environment.name}.txt").read_bytes()

    @property
    def airflow(self) -> Path:
        """Airflow's command."""
        return self.environment / "bin" / "airflow"


def chosen() -> Choice:
    """Return the choice of the last `up`.

    Raises:
        ConfigurationError: the file that keeps it is broken.
    """
    path = HOME / "choice.json"
    try:
        found = Choice(**json.loads(path.read_bytes()))
        if found.database not in DATABASES or found.executor not in EXECUTORS:
            raise ValueError(f"{found.database}, {found.executor}")
    except FileNotFoundError:
        return Choice()
    except (ValueError, TypeError) as error:
        raise ConfigurationError(
            f"{path} is broken ({error}): remove it, and say again what Airflow runs with, by `up --database … --executor …`"
        ) from error
    return found


def choose(choice: Choice) -> None:
    """Keep the choice for the commands that follow."""
    write_atomically(HOME / "choice.json", canonical_json(asdict(choice)))


def settings(choice: Choice) -> dict[str, str]:
    """Return the environment of every component."""
    mine = {
        "BULKHEAD_PROJECT": str(PROJECT),
        "BULKHEAD_VAR": str(VAR),
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__EXECUTOR": {"local": "LocalExecutor", "celery": "CeleryExecutor"}[choice.executor],
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{URL}/execution/",
        "AIRFLOW__CORE__PARALLELISM": "4",  # the 32 idle workers of the default take half a gigabyte
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(PASSWORDS),
        "AIRFLOW__CORE__FERNET_KEY": "",  # no connection is stored, so nothing needs encryption
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": _database(choice),
        "AIRFLOW__API__BASE_URL": URL,
        "AIRFLOW__API__SECRET_KEY": secret("api-secret"),
        "AIRFLOW__API_AUTH__JWT_SECRET": secret("jwt-secret"),
        "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.1",
        "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "30",  # for 300: tasks of a scheduler that has died
        # For 30: a scheduler that a busy machine stalls for longer takes itself for dead, and tries its own running tasks again.
        "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "120",
        "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
    }
    return common(choice.airflow) | mine | (of_workers() | _PATIENT if choice.executor == "celery" else {})


def common(airflow: Path) -> dict[str, str]:
    """Return the environment of whatever reads the DAGs of this checkout, a worker too."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name.startswith(_PASSED) or not name.startswith(("AIRFLOW", "PYTHONPATH"))
    }
    return inherited | {
        "PATH": f"{airflow.parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "AIRFLOW_HOME": str(HOME),
        # By name, for the defaults below AIRFLOW_HOME do not find it where it has a percent sign.
        "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(HOME / "logs"),
        "AIRFLOW__LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY": str(HOME / "logs" / "dag_processor"),
        # Titles of processes would overwrite their environment, by whose mark the orphans of a killed scheduler are found.
        "SPT_NOENV": "1",
        # A task waits two minutes or so for an API server that starts; by default it would lose an attempt after ten seconds or so.
        # Pauses are random, up to the longest one.
        "AIRFLOW__WORKERS__EXECUTION_API_RETRIES": "40",
        "AIRFLOW__WORKERS__EXECUTION_API_RETRY_WAIT_MAX": "5",
        "BULKHEAD_ALERTS": str(ALERTS),
        "AIRFLOW__CORE__DAGS_FOLDER": str(PROJECT / "dags"),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT / "dags" / "plugins"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    }


def of_workers() -> dict[str, str]:
    """Return what a Celery worker needs to know of this Airflow: neither its database nor the secret of its tokens."""
    broker = f"redis://:{secret('redis-password')}@127.0.0.1:{REDIS_PORT}"
    values = (f"{broker}/0", f"{broker}/1", f"{URL}/execution/", "CeleryExecutor")
    return dict(zip(_OF_WORKERS, values, strict=True))


def write_worker_file() -> None:
    """Write the file by which workers of other checkouts find this Airflow; it holds a password."""
    lines = (f"{name}={value}\n" for name, value in of_workers().items())
    WORKER.touch(mode=0o600)
    WORKER.write_text("".join(lines))


def read_worker_file(path: Path) -> dict[str, str]:
    """Return the settings in such a file.

    Raises:
        ConfigurationError: it is missing, or none.
    """
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError as error:
        raise ConfigurationError(
            f"{path}: {error.strerror}; copy it from the Airflow to work for: <its var>/airflow/worker.env, made by "
            "`bin/airflow-local up --executor celery`"
        ) from error
    found = {name: value for name, equals, value in (line.partition("=") for line in lines) if equals}
    if missing := set(_OF_WORKERS) - found.keys():
        raise ConfigurationError(
            f"{path} lacks {', '.join(sorted(missing))}; copy it again from the Airflow to work for"
        )
    return found


def address(url: str, what: str) -> tuple[str, int]:
    """Return host and port of a URL.

    Raises:
        ConfigurationError: it lacks one; `what` names the setting.
    """
    try:
        place = urlsplit(url)
        host, port = place.hostname, place.port
    except ValueError:
        host = port = None
    if not host or not port:
        # Without the URL itself, which may hold a password.
        raise ConfigurationError(f"{what} has no host and port; copy the file again from the Airflow to work for")
    return host, port


def secret(name: str) -> str:
    """Return the content of a private file in Airflow's home, made on first use."""
    return private(HOME / name, secrets.token_hex(64))


def private(path: Path, text: str) -> str:
    """Write a file that only its owner can read, unless it exists; return its content."""
    path.touch(mode=0o600)  # before the content, which others must never be able to read
    if not path.read_text():
        path.write_text(text)
    return path.read_text()


def _database(choice: Choice) -> str:
    if choice.database == "sqlite":
        return f"sqlite:///{SQLITE}"
    return f"postgresql+psycopg2://airflow:{secret('postgresql-password')}@127.0.0.1:{POSTGRESQL_PORT}/airflow"
