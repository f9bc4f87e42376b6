"""A small client of Airflow's REST API, as an outsider would write it."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from typing import Any

FINISHED = {"success", "failed"}


class Airflow:
    """Airflow at a URL."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._token = ""

    def log_in(self, user: str, password: str) -> None:
        self._token = self.call("POST", "/auth/token", {"username": user, "password": password})["access_token"]

    def call(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        headers = {"Content-Type": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        content = None if body is None else json.dumps(body).encode()
        deadline = time.monotonic() + 30
        request = urllib.request.Request(self.url + path, method=method, data=content, headers=headers)
        while True:
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:
                    return json.load(answer)
            except urllib.error.HTTPError as error:
                # As where SQLite is locked: what only asks may ask again.
                if method != "GET" or error.code < 500 or time.monotonic() > deadline:
                    raise
                time.sleep(0.5)

    def trigger(self, dag_id: str, **body: Any) -> str:
        run = self.call("POST", f"/api/v2/dags/{dag_id}/dagRuns", {"logical_date": None, **body})
        return str(run["dag_run_id"])

    def runs(self, dag_id: str) -> list[dict[str, Any]]:
        runs: list[dict[str, Any]] = self.call("GET", f"/api/v2/dags/{dag_id}/dagRuns")["dag_runs"]
        return runs

    def wait(self, dag_id: str, run_id: str, limit_s: float) -> str:
        """The run's final state; its last known one when the time is up."""
        deadline = time.monotonic() + limit_s
        while (state := self._state(dag_id, run_id)) not in FINISHED and time.monotonic() < deadline:
            time.sleep(0.5)
        return state

    def wait_for_run(self, dag_id: str, limit_s: float) -> str:
        """The id of the first run of a DAG that somebody else triggers."""
        deadline = time.monotonic() + limit_s
        while not (runs := self.runs(dag_id)) and time.monotonic() < deadline:
            time.sleep(0.5)
        return str(runs[0]["dag_run_id"])

    def tasks(self, dag_id: str, run_id: str) -> dict[str, dict[str, Any]]:
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances"
        return {task["task_id"]: task for task in self.call("GET", path)["task_instances"]}

    def log(self, dag_id: str, run_id: str, task_id: str) -> str:
        number = self.tasks(dag_id, run_id)[task_id]["try_number"]
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{number}?full_content=true"
        return json.dumps(self.call("GET", path)["content"])

    def failures(self, dag_id: str, run_id: str) -> dict[str, str]:
        """How the logs of a run's failed tasks end."""
        tasks = self.tasks(dag_id, run_id)
        return {name: self.log(dag_id, run_id, name)[-4000:] for name in tasks if tasks[name]["state"] == "failed"}

    def _state(self, dag_id: str, run_id: str) -> str:
        return str(self.call("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}")["state"])
