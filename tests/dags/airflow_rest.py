"""A small client of Airflow's REST API, as an outsider would write it."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
import uuid
from typing import Any

FINISHED = {"success", "failed"}
_PAUSE_S = 0.1


class Airflow:
    """Airflow at a URL."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._token = ""

    def log_in(self, user: str, password: str) -> None:
        self._token = self.call("POST", "/auth/token", {"username": user, "password": password}, again=True)[
            "access_token"
        ]

    def call(self, method: str, path: str, body: dict[str, Any] | None = None, *, again: bool | None = None) -> Any:
        """The answer. A request that may be made twice, as all but a POST may, is made again where SQLite was locked or nobody answered."""
        again = method != "POST" if again is None else again
        headers = {"Content-Type": "application/json"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        content = None if body is None else json.dumps(body).encode()
        deadline = time.monotonic() + 60
        request = urllib.request.Request(self.url + path, method=method, data=content, headers=headers)
        while True:
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:
                    return json.load(answer)
            except OSError as error:  # no answer in time, a component is being restarted, or SQLite was locked
                is_refused = isinstance(error, urllib.error.HTTPError) and error.code < 500
                if not again or is_refused or time.monotonic() > deadline:
                    raise
            time.sleep(0.5)

    def trigger(self, dag_id: str, **body: Any) -> str:
        """Start a run, once even if it is asked for twice, by the name that it gets here."""
        run = f"test__{uuid.uuid4().hex[:12]}"
        asked = {"logical_date": None, "dag_run_id": run, **body}
        try:
            self.call("POST", f"/api/v2/dags/{dag_id}/dagRuns", asked, again=True)
        except urllib.error.HTTPError as error:
            if error.code != 409:  # it is there already: an answer was lost
                raise
        return run

    def runs(self, dag_id: str) -> list[dict[str, Any]]:
        runs: list[dict[str, Any]] = self.call("GET", f"/api/v2/dags/{dag_id}/dagRuns")["dag_runs"]
        return runs

    def wait(self, dag_id: str, run_id: str, limit_s: float) -> str:
        """The run's final state; its last known one when the time is up."""
        deadline = time.monotonic() + limit_s
        while (state := self._state(dag_id, run_id)) not in FINISHED and time.monotonic() < deadline:
            time.sleep(_PAUSE_S)
        return state

    def wait_for_run(self, dag_id: str, limit_s: float) -> str:
        """The id of the first run of a DAG that somebody else triggers."""
        deadline = time.monotonic() + limit_s
        while not (runs := self.runs(dag_id)) and time.monotonic() < deadline:
            time.sleep(_PAUSE_S)
        return str(runs[0]["dag_run_id"])

    def tasks(self, dag_id: str, run_id: str) -> dict[str, dict[str, Any]]:
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances"
        return {task["task_id"]: task for task in self.call("GET", path)["task_instances"]}

    def outcome(self, dag_id: str, run_id: str, task_id: str) -> Any:
        """The outcome that a task has pushed."""
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/outcome"
        return self.call("GET", path)["value"]

    def log(self, dag_id: str, run_id: str, task_id: str) -> str:
        number = self.tasks(dag_id, run_id)[task_id]["try_number"]
        path = f"/api/v2/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{number}?full_content=true"
        return json.dumps(self.call("GET", path)["content"], ensure_ascii=False)

    def failures(self, dag_id: str, run_id: str) -> dict[str, str]:
        """How the logs of a run's failed tasks end."""
        tasks = self.tasks(dag_id, run_id)
        return {name: self.log(dag_id, run_id, name)[-4000:] for name in tasks if tasks[name]["state"] == "failed"}

    def _state(self, dag_id: str, run_id: str) -> str:
        return str(self.call("GET", f"/api/v2/dags/{dag_id}/dagRuns/{run_id}")["state"])
