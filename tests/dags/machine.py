"""What the real runs ask of the machine: ports that are free, processes that are left, time that passes."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path

from harness import PROJECT, interpreter, processes
from harness.waiting import until

COMMAND = PROJECT / "bin" / "airflow-local"


def install(root: Path, airflow: str) -> Path:
    """`bin/airflow-local` in a project of its own, with a script in place of Airflow; components get a second to stop."""
    command, program = root / "bin" / "airflow-local", root / ".venv" / "orchestrator" / "bin" / "airflow"
    for path, content in ((command, COMMAND.read_text()), (program, airflow)):
        path.parent.mkdir(parents=True)
        path.write_text(content)
        path.chmod(0o755)
    for name in ("contract", "fleet", "requirements", ".venv/fleet"):
        (root / name).symlink_to(PROJECT / name)
    shutil.copytree(PROJECT / "airflow_local", root / "airflow_local", ignore=shutil.ignore_patterns("__pycache__"))
    end_sooner(root, 1)
    return command


def make_impatient(root: Path) -> None:
    """Let a failed task be tried again after a second instead of ten, in a copy of the DAG files."""
    change(
        root / "dags" / "pipeline_tasks.py",
        '"retry_delay": timedelta(seconds=10)',
        '"retry_delay": timedelta(seconds=1)',
    )


def end_sooner(root: Path, limit_s: int) -> None:
    """Let components in a copy of `airflow_local` be killed that do not stop within so many seconds, instead of 15."""
    change(root / "airflow_local" / "site.py", "STOP_LIMIT_S = 15", f"STOP_LIMIT_S = {limit_s}")


def change(path: Path, old: str, new: str) -> None:
    """Change a file, which must have the old text."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def put_database(home: Path) -> None:
    """Put an empty database of Airflow's where `bin/airflow-local up` would make one, which takes seconds: all have one template."""
    for path in _template().glob("airflow.db*"):
        shutil.copyfile(path, home / path.name)
    (home / "migrated").write_bytes(b"sqlite" + (PROJECT / "requirements" / "orchestrator.txt").read_bytes())


@cache
def _template() -> Path:
    home = Path(tempfile.mkdtemp(prefix="bulkhead-airflow-db-"))
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    environment = without_airflow() | {
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
    }
    airflow = interpreter("orchestrator").with_name("airflow")
    with (home / "migrate.log").open("w") as log:
        subprocess.run([airflow, "db", "migrate"], env=environment, stdout=log, stderr=log, check=True)
    return home


def celery_control(root: Path, *words: str) -> None:
    """Tell the worker that `bin/airflow-local up` started in a project, by Celery's remote control."""
    lines = (root / "var" / "airflow" / "worker.env").read_text().splitlines()
    broker = dict(line.split("=", 1) for line in lines)["AIRFLOW__CELERY__BROKER_URL"]
    whom = f"celery@{os.uname().nodename}"
    celery = interpreter("cluster").with_name("celery")
    subprocess.run([celery, "--broker", broker, "control", "--destination", whom, *words], check=True)


def supervise(root: Path, *call: str) -> None:
    """Call the supervisord of a project's Airflow, such as `stopProcess`, `redis`."""
    program = (
        "import sys; from fleet.supervisor.supervision import *; Supervisor(Path(sys.argv[1]))._call(*sys.argv[2:])"
    )
    home = root / "var" / "airflow"
    subprocess.run([interpreter("fleet"), "-c", program, home, *call], cwd=PROJECT, check=True)


@contextmanager
def worker_in(other: Path, root: Path, environment: Mapping[str, str], limit_s: float) -> Iterator[None]:
    """A worker in another checkout for the Airflow in `root`; it is ready at once, and killed at the end with all that it has started."""
    given, log = other.with_name("worker.env"), other.with_name("worker.log")
    shutil.copy(root / "var" / "airflow" / "worker.env", given)
    command = [sys.executable, str(other / "bin" / "airflow-local"), "worker", str(given)]
    with processes.running(command, cwd=other, env=environment, log=log) as worker:
        try:
            until(lambda: worker.poll() is not None or " ready." in log.read_text(), "the worker", limit_s=limit_s)
            assert worker.poll() is None, log.read_text()
            yield
        finally:
            kill_all_in(other)


def kill_all_in(root: Path) -> None:
    """kill -9, until nothing is left, as when a machine is lost."""

    def nothing_is_left() -> bool:
        found = processes_in(root)
        for line in found:
            with suppress(ProcessLookupError):
                os.kill(int(line.split(":")[0]), signal.SIGKILL)
        return not found

    until(nothing_is_left, "all processes to end", limit_s=300)


def without_airflow() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if "AIRFLOW" not in name}


def listening_addresses(port: int) -> set[str]:
    """The local addresses, as the kernel writes them, on which somebody listens to the port; IPv4 and IPv6."""
    lines = [
        line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
    ]
    return {line[1].split(":")[0] for line in lines if line[3] == "0A" and int(line[1].split(":")[1], 16) == port}


def processes_in(root: Path) -> list[str]:
    """What still runs with the directory in its command line, or works in it."""
    found = []
    for process, words in processes.commands().items():
        with suppress(OSError):
            if str(root) in words or Path(f"/proc/{process}/cwd").readlink().is_relative_to(root):
                found.append(f"{process}: {words}")
    return found
