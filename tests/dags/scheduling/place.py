"""A project whose stages take milliseconds, with an Airflow of its own: real scheduler, real DAG files, real workspaces.

A stage waits while a file of its name and month lies in `var/hold`, tells in `var/began` that it works, and fails while the
month lies in `var/bad`.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import urllib.error
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import yaml

from harness import PROJECT, interpreter
from harness.ports import free_ports
from harness.waiting import until
from pipelines.runs.workspaces.workspace import Workspace
from tests.dags.airflow_rest import Airflow
from tests.dags.machine import change, make_impatient, processes_in, put_database, without_airflow

MONTHS = ["2013-01", "2013-02", "2013-03", "2013-04", "2013-05", "2013-06"]
FROZEN_S = 5.0  # for 60: an attempt that does not beat is taken for frozen
LONG_AGO = "2013-01-01 00:00:00.000000"  # of Airflow's last sign of life, where no test can wait for the time to pass
TRAIN, COLLECT = "train_and_evaluate", "collect_and_validate"
_COPIED, _LINKED = ("dags", "pipelines", "bin", "airflow_local"), ("contract", "fleet", "requirements", ".venv")
_OTHERS = ("bundle_and_deploy", "monitor")
_REMOTE = "[core]\nremote = bucket\n['remote \"bucket\"']\nurl = s3://models/dvc\n"
LIMIT_S = 300.0

PIPELINE = """\
stages:
  collect:
    foreach: ${data.months}
    do:
      cmd: python step.py collect ${item} data/${item}.txt
      params: [name]
      outs:
        - data/${item}.txt
  validate:
    cmd: python step.py validate data report.txt
    deps: [data]
    params: [data.months]
    outs: [report.txt]
  evaluate:
    cmd: python step.py evaluate report.txt evaluated.txt
    deps: [report.txt]
    outs: [evaluated.txt]
  bundle:
    cmd: python step.py bundle evaluated.txt bundle.txt
    deps: [evaluated.txt]
    outs: [bundle.txt]
"""
STEP = """\
import os, sys, time
from pathlib import Path
stage, source, target = sys.argv[1:]
var, source = Path(os.environ["BULKHEAD_VAR"]), Path(source)
if stage == "collect":
    month, text = str(source), (Path(os.environ["BULKHEAD_SOURCE_ROOT"]) / "source" / source).read_text()
else:
    files = sorted(source.glob("*.txt")) if source.is_dir() else [source]
    text = "".join(file.read_text() for file in files)
    month = text.splitlines()[-1].split()[0]
name = f"{stage} {month}"
(var / "began" / f"{name} {os.getpid()}").touch()
if (var / "bad" / month).exists():
    print(f"{month} is bad")
    raise SystemExit(65)
while (var / "hold" / name).exists():
    time.sleep(0.05)
Path(target).parent.mkdir(exist_ok=True)
Path(target).write_text(text)
with (var / "written.txt").open("a") as stream:
    stream.write(f"{name}\\n")
"""


@dataclass(frozen=True)
class Place:
    """The project and its Airflow."""

    root: Path
    environment: Mapping[str, str]
    airflow: Airflow
    database: str
    executor: str

    def control(self, *words: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, self.root / "bin" / "airflow-local", *words]
        done = subprocess.run(
            command,
            env=dict(self.environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert not check or done.returncode == 0, done.stdout[-4000:]
        return done

    def begin(self) -> None:
        """Start Airflow; only what collects and trains is unpaused, since nothing here can be served."""
        self.control("up", "--database", self.database, "--executor", self.executor)
        passwords = json.loads((self.root / "var" / "airflow" / "passwords.json").read_bytes())
        self.airflow.log_in("admin", passwords["admin"])
        until(lambda: {TRAIN, COLLECT, *_OTHERS} <= self._dags(), "the DAGs to be read", limit_s=LIMIT_S)
        for dag in _OTHERS:
            self.airflow.call("PATCH", f"/api/v2/dags/{dag}", {"is_paused": True})

    def another_checkout(self) -> Place:
        """Another user's checkout beside it, with files of its own, whose worker may do the tasks of this one's Airflow."""
        other = self.root.with_name("other")
        _git(self.root, "clone", "--quiet", str(self.root), str(other))
        _install(other)
        for name in ("source", ".dvc/config.local"):
            subprocess.run(["cp", "-R", self.root / name, other / name], check=True)
        environment = {name: value for name, value in self.environment.items() if name != "BULKHEAD_VAR"}
        return replace(self, root=other, environment=environment)

    def _dags(self) -> set[str]:
        return {dag["dag_id"] for dag in self.airflow.call("GET", "/api/v2/dags")["dags"]}

    def compile(self, *options: str) -> None:
        """Compile the graph that the DAG files read."""
        command = [interpreter("pipeline"), "-m", "pipelines.runs", "compile", *options]
        subprocess.run(command, cwd=self.root, env=without_airflow(), check=True, stdout=subprocess.DEVNULL)

    def deliver(self, month: str, rows: str = "rows") -> None:
        (self.root / "source").mkdir(exist_ok=True)
        (self.root / "source" / month).write_text(f"{month} {rows}\n")

    def commit_lock(self, dag: str, run: str) -> None:
        """Commit the `dvc.lock` of a run, as people do."""
        shutil.copyfile(self._lock(dag, run), self.root / "dvc.lock")
        _git(self.root, "add", "dvc.lock")
        _git(self.root, "commit", "--quiet", "--message=Lock")

    @contextmanager
    def held(self, *names: str) -> Iterator[None]:
        """Let stages of these names wait, such as `evaluate 2013-01`."""
        files = [self.root / "var" / "hold" / name for name in names]
        for file in files:
            file.touch()
        try:
            yield
        finally:
            for file in files:
                file.unlink(missing_ok=True)

    def began(self, name: str) -> list[int]:
        """The process ids of all attempts at a stage, such as `evaluate 2013-01`."""
        return [int(path.name.split()[-1]) for path in (self.root / "var" / "began").glob(f"{name} *")]

    def attempt(self, name: str, after: int = 0) -> psutil.Process:
        """The stage's process of the attempt after so many earlier ones, at work."""
        until(lambda: len(self.began(name)) > after, f"{name} to begin", limit_s=LIMIT_S)
        alive = [process for process in self.began(name) if psutil.pid_exists(process)]
        return psutil.Process(alive[-1])

    def written(self, name: str) -> int:
        """How often a stage has written its result."""
        path = self.root / "var" / "written.txt"
        return path.read_text().splitlines().count(name) if path.exists() else 0

    def give_up(self, run: str) -> None:
        """Let Airflow take the first attempt at `evaluate` for lost, as after minutes without a heartbeat, and wait for the next one."""
        lost = f"run_id = '{run}' AND task_id = 'evaluate' AND state = 'running' AND try_number = 1"

        def is_tried_again() -> bool:
            self.execute(f"UPDATE task_instance SET last_heartbeat_at = '{LONG_AGO}' WHERE {lost}")
            return self.attempts(run) >= 2

        until(is_tried_again, "another attempt", limit_s=LIMIT_S)

    def attempts(self, run: str) -> int:
        """The number of attempts at `evaluate` in a run."""
        return int(self.airflow.tasks(TRAIN, run)["evaluate"]["try_number"])

    def execute(self, statement: str) -> None:
        """Change Airflow's database."""
        home = self.root / "var" / "airflow"
        if self.database == "sqlite":
            with closing(sqlite3.connect(home / "airflow.db", timeout=60)) as database, database:
                database.execute(statement)
            return
        place = [
            "--host=127.0.0.1",
            f"--port={self.environment['BULKHEAD_AIRFLOW_POSTGRESQL_PORT']}",
            "--username=airflow",
        ]
        secret = {"PGPASSWORD": (home / "postgresql-password").read_text()}
        *_, program = Path("/usr/lib/postgresql").glob("*/bin/psql")
        subprocess.run(
            [program, *place, "--quiet", f"--command={statement}", "airflow"], env=os.environ | secret, check=True
        )

    def backfill(self, first: str, last: str, *, runs: int = 1, reprocess: str = "none") -> None:
        """Ask for a backfill of trainings. Those before must have ended; the scheduler would see that half a minute later."""
        for before in self._active():
            with suppress(urllib.error.HTTPError):  # the scheduler was faster
                self.airflow.call("PUT", f"/api/v2/backfills/{before}/cancel")
        asked = {
            "dag_id": TRAIN,
            "from_date": f"{first}-01T00:00:00Z",
            "to_date": f"{last}-01T00:00:00Z",
            "max_active_runs": runs,
            "reprocess_behavior": reprocess,
        }
        try:
            self.airflow.call("POST", "/api/v2/backfills", asked, again=True)
        except urllib.error.HTTPError as error:
            assert (error.code, len(self._active())) == (409, 1)  # it is there already: an answer was lost

    def _active(self) -> list[int]:
        backfills = self.airflow.call("GET", f"/api/v2/backfills?dag_id={TRAIN}")["backfills"]
        return [backfill["id"] for backfill in backfills if backfill["completed_at"] is None]

    def runs(self, dag: str, *, of_backfill: bool | None = None) -> list[dict[str, Any]]:
        """The runs of a DAG by month, then by their start."""
        found = [
            run
            for run in self.airflow.call("GET", f"/api/v2/dags/{dag}/dagRuns?limit=100")["dag_runs"]
            if of_backfill is None or (run["run_type"] == "backfill") == of_backfill
        ]
        return sorted(found, key=lambda run: (str(run["partition_key"]), str(run["start_date"])))

    def wait(self, runs: Callable[[], list[dict[str, Any]]], count: int, what: str) -> list[dict[str, Any]]:
        """Wait until so many runs are there and all of them have ended."""
        ended = {"success", "failed"}
        until(
            lambda: len(found := runs()) == count and all(run["state"] in ended for run in found), what, limit_s=LIMIT_S
        )
        return runs()

    def recorded(self, dag: str, run: str) -> dict[str, str]:
        """The digests of a run's results, by path."""
        stages = yaml.safe_load(self._lock(dag, run).read_text())["stages"]
        return {out["path"]: out["md5"] for stage in stages.values() for out in stage["outs"]}

    def _lock(self, dag: str, run: str) -> Path:
        return Workspace(self.root, self.root / "var", f"{dag}.{run}").recorded_lock

    def expected(self, through: str, rows: Mapping[str, str] | None = None) -> dict[str, str]:
        """What a run through that month must give, worked out from the source alone."""
        lines = {m: f"{m} {(rows or {}).get(m, 'rows')}\n" for m in MONTHS if m <= through}
        texts = {f"data/{month}.txt": line for month, line in lines.items()}
        texts |= dict.fromkeys(("report.txt", "evaluated.txt"), "".join(lines.values()))
        return {path: hashlib.md5(text.encode()).hexdigest() for path, text in texts.items()}


@contextmanager
def place(
    root: Path, database: str = "sqlite", executor: str = "local", bucket: Mapping[str, str] | None = None
) -> Iterator[Place]:
    """A project with a running Airflow; with the environment of a `bucket` its tasks may work in several checkouts."""
    made = _prepared(root, database, executor, bucket)
    try:
        made.begin()
        yield made
    finally:
        for hold in (root / "var" / "hold").iterdir():
            hold.unlink()
        made.control("down")
        until(lambda: processes_in(root) == [], "everything of it to end")


def _install(root: Path) -> None:
    """Install the code, made impatient, and what the stages look at."""
    for name in _COPIED:
        shutil.copytree(PROJECT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in _LINKED:
        (root / name).symlink_to(PROJECT / name)
    change(root / "pipelines" / "runs" / "holding.py", "FROZEN_S = 60.0", f"FROZEN_S = {FROZEN_S}")
    make_impatient(root)
    for name in ("hold", "began", "bad"):
        (root / "var" / name).mkdir(parents=True)


def _prepared(root: Path, database: str, executor: str, bucket: Mapping[str, str] | None) -> Place:
    _install(root)
    months = ", ".join(f'"{month}"' for month in MONTHS)
    files = {
        "params.yaml": f"name: tiny\ndata:\n  months: [{months}]\n",
        "dvc.yaml": PIPELINE,
        "step.py": STEP,
        ".gitignore": "".join(f"/{name}\n" for name in ("var/", "data/", "source/", "*.txt", *_COPIED, *_LINKED)),
        ".dvc/config": "[core]\n    analytics = false\n",
        ".dvc/.gitignore": "/config.local\n/tmp\n/cache\n",
        "var/airflow/airflow.cfg": "[scheduler]\ntask_instance_heartbeat_timeout_detection_interval = 1\n",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    (root / "var" / "airflow").chmod(0o700)
    if database == "sqlite":
        put_database(root / "var" / "airflow")
    if bucket is not None:
        (root / ".dvc" / "config.local").write_text(_REMOTE)
    _git(root, "init", "--quiet", "--initial-branch=main")
    _git(root, "add", "--all")
    _git(root, "commit", "--quiet", "--message=A commit")
    port, servers_port, broker_port = free_ports(3)
    environment = without_airflow() | {
        "BULKHEAD_AIRFLOW_PORT": str(port),
        "BULKHEAD_AIRFLOW_POSTGRESQL_PORT": str(servers_port),
        "BULKHEAD_AIRFLOW_REDIS_PORT": str(broker_port),
        "BULKHEAD_VAR": str(root / "var"),
    }
    if bucket is not None:
        environment |= bucket | {"BULKHEAD_RUNS": "s3://models/runs"}
    place = Place(root, environment, Airflow(f"http://127.0.0.1:{port}"), database, executor)
    place.compile()
    for month in MONTHS:
        place.deliver(month)
    return place


def _git(root: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=t", "-c", "user.email=t@localhost")
    subprocess.run(["git", *identity, *arguments], cwd=root, check=True)
