"""A real Airflow around a copy of the project, run by `bin/airflow-local` and asked over its REST API."""

from __future__ import annotations

import json
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

from harness import PROJECT, interpreter
from harness.ports import free_ports
from harness.workspaces import Workspace, timed

_RUN_LIMIT_S = 300
_PAUSE_S = 0.5  # each answer costs the API server 20 ms of CPU time, which the run would lack
_ANSWER_LIMIT_S = 300.0


# The plugin with the schedule counts with the DAG files: whoever parses them needs it.
_PARSING = """
import json, sys, time
began = time.perf_counter()
import airflow.sdk
known = time.perf_counter()
sys.path[:0] = ["dags", "dags/plugins"]
import pathlib
for path in sorted(pathlib.Path("dags").glob("*.py")):
    __import__(path.stem)
print(json.dumps([known - began, time.perf_counter() - known]))
"""


class RunFailedError(Exception):
    """A DAG run failed, or did not end in time; with the states of its tasks."""


@dataclass(frozen=True)
class Run:
    """A run: its path in the REST API, its state, and the seconds from the request to the end that Airflow records."""

    path: str
    state: str
    seconds: float


@dataclass(frozen=True)
class Task:
    """A task of a run: its state, attempts, the facts of its outcome, and the log of the last attempt."""

    state: str
    attempts: int
    facts: Mapping[str, Any]
    log: str


class Airflow:
    """Airflow in a workspace, running within a `with` block, its environment with these variables more."""

    def __init__(self, workspace: Workspace, **variables: str) -> None:
        self._workspace = workspace
        port, http_port, grpc_port = free_ports(3)
        self._url = f"http://127.0.0.1:{port}"
        self._token = ""
        # The fleet's ports too: a finished run triggers a deployment, which must not reach a fleet of this machine.
        self._environment = workspace.environment | {
            "BULKHEAD_AIRFLOW_PORT": str(port),
            "BULKHEAD_HTTP_PORT": str(http_port),
            "BULKHEAD_GRPC_PORT": str(grpc_port),
            "BULKHEAD_STATUS_PORT": "0",
            **variables,
        }

    def __enter__(self) -> Airflow:
        (self._workspace.path / ".venv").symlink_to(PROJECT / ".venv")
        try:
            self._control("up")
            passwords = json.loads((self._workspace.path / "var/airflow/passwords.json").read_bytes())
            user = {"username": "admin", "password": passwords["admin"]}
            self._token = self._call("POST", "/auth/token", user)["access_token"]
        except BaseException:
            self._control("down")
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._control("down")

    def time_run(self, dag: str, **asked: Any) -> float:
        """Return the seconds from a run's request to its success, with every other DAG paused; `asked` is the request, such as `conf`.

        Raises:
            RunFailedError: it did not succeed.
        """
        run = self.run(dag, **asked)
        if run.state != "success":
            tasks = self._call("GET", f"{run.path}/taskInstances")["task_instances"]
            raise RunFailedError(
                f"{dag} is {run.state}: " + ", ".join(f"{task['task_id']} {task['state']}" for task in tasks)
            )
        return run.seconds

    def run(self, dag: str, limit_s: float = _RUN_LIMIT_S, **asked: Any) -> Run:
        """Return how a run ended, or its state when the time is up, with every other DAG paused."""
        self._pause_others(dag)
        started = datetime.now(UTC)
        made = self._call("POST", f"/api/v2/dags/{dag}/dagRuns", {"logical_date": None, **asked})
        path, deadline = f"/api/v2/dags/{dag}/dagRuns/{made['dag_run_id']}", time.monotonic() + limit_s
        while (found := self._call("GET", path))["state"] in ("queued", "running") and time.monotonic() < deadline:
            time.sleep(_PAUSE_S)
        ended = datetime.fromisoformat(found["end_date"]) if found["end_date"] else datetime.now(UTC)
        return Run(path, found["state"], (ended - started).total_seconds())

    def task(self, run: Run, task: str) -> Task:
        """Return how a task of a run ended."""
        path = f"{run.path}/taskInstances/{task}"
        found = self._call("GET", path)
        outcomes = self._call("GET", f"{path}/xcomEntries")["xcom_entries"]
        told = any(entry["key"] == "outcome" for entry in outcomes)
        facts = self._call("GET", f"{path}/xcomEntries/outcome")["value"].get("facts", {}) if told else {}
        log = self._call("GET", f"{path}/logs/{found['try_number']}?full_content=true")["content"]
        return Task(found["state"], found["try_number"], facts, json.dumps(log, ensure_ascii=False))

    def backfill(
        self, dag: str, first: str, last: str, limit_s: float, *, runs: int = 1, reprocess: str = "none"
    ) -> list[dict[str, Any]]:
        """Backfill months, so many at a time, with every other DAG paused; return the new runs by their start.

        Raises:
            RunFailedError: they have not ended in time.
        """
        self._pause_others(dag)
        before = {run["dag_run_id"] for run in self._backfilled(dag)}
        dates = {"from_date": f"{first}-01T00:00:00Z", "to_date": f"{last}-01T00:00:00Z"}
        asked = {"dag_id": dag, "max_active_runs": runs, "reprocess_behavior": reprocess, **dates}
        deadline = time.monotonic() + limit_s
        self._end_backfills(dag, deadline)
        self._call("POST", "/api/v2/backfills", asked)
        while True:
            made = [run for run in self._backfilled(dag) if run["dag_run_id"] not in before]
            if made and all(run["state"] in ("success", "failed") for run in made):
                return sorted(made, key=lambda run: str(run["start_date"]))
            if time.monotonic() > deadline:
                raise RunFailedError(f"the backfill of {dag} has not ended within {limit_s:g} s")
            time.sleep(1)

    def resize(self, pool: str, slots: int) -> None:
        """Give a pool so many slots."""
        body = {"name": pool, "slots": slots, "description": "", "include_deferred": False}
        self._call("PATCH", f"/api/v2/pools/{pool}", body)

    def _backfilled(self, dag: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._call("GET", f"/api/v2/dags/{dag}/dagRuns?limit=100&run_type=backfill")[
            "dag_runs"
        ]
        return found

    def _end_backfills(self, dag: str, deadline: float) -> None:
        """Wait until the scheduler has seen that all runs of the one before have ended, which it does within half a minute."""
        while any(
            entry["completed_at"] is None for entry in self._call("GET", f"/api/v2/backfills?dag_id={dag}")["backfills"]
        ):
            if time.monotonic() > deadline:
                raise RunFailedError(f"a backfill of {dag} does not end")
            time.sleep(1)

    def _pause_others(self, dag: str) -> None:
        for entry in self._call("GET", "/api/v2/dags")["dags"]:
            if entry["dag_id"] != dag:
                self._call("PATCH", f"/api/v2/dags/{entry['dag_id']}", {"is_paused": True})

    def _control(self, verb: str) -> None:
        command = (sys.executable, str(self._workspace.path / "bin/airflow-local"), verb)
        timed(command, cwd=self._workspace.path, env=self._environment)

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        headers = {"Content-Type": "application/json"} | (
            {"Authorization": f"Bearer {self._token}"} if self._token else {}
        )
        content = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, method=method, data=content, headers=headers)
        while True:
            try:
                with urllib.request.urlopen(request, timeout=_ANSWER_LIMIT_S) as answer:
                    return json.load(answer)
            except urllib.error.HTTPError:
                raise
            except OSError:  # no answer in time, on a busy machine; what changes something is not asked for twice
                if method != "GET":
                    raise


def parse_times(workspace: Workspace) -> tuple[float, float]:
    """Return the seconds of an import of `airflow.sdk`, and those of all DAG files and their plugin after it; each the least of three."""
    python = str(interpreter("orchestrator"))
    environment = workspace.environment | {"AIRFLOW_HOME": str(workspace.path / "var/airflow")}
    times = [
        json.loads(
            timed((python, "-W", "ignore", "-c", _PARSING), cwd=workspace.path, env=environment)[1].splitlines()[-1]
        )
        for _ in range(3)
    ]
    return min(sdk for sdk, _ in times), min(dags for _, dags in times)
