"""A copy of the project with an Airflow and a fleet of its own, and what is asked of both."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from harness.waiting import until
from tests.dags.airflow_rest import FINISHED, Airflow
from tests.dags.machine import processes_in

DAGS = {"collect_and_validate", "train_and_evaluate", "bundle_and_deploy", "monitor", "batch_predict"}


@dataclass(frozen=True)
class Site:
    """A copy of the project with an Airflow of its own."""

    root: Path
    environment: dict[str, str]
    airflow: Airflow

    def control(self, verb: str) -> None:
        subprocess.run([sys.executable, self.root / "bin" / "airflow-local", verb], env=self.environment, check=True)

    def log_in(self) -> None:
        passwords = json.loads((self.root / "var" / "airflow" / "passwords.json").read_bytes())
        self.airflow.log_in("admin", passwords["admin"])
        # Airflow calls itself healthy before it has read the DAGs.
        until(
            lambda: {dag["dag_id"] for dag in self.airflow.call("GET", "/api/v2/dags")["dags"]} == DAGS,
            "all DAGs to be read",
            limit_s=120,
        )

    def state_of(self, what: str) -> Any:
        """A file of state outside of Airflow, such as the ledger of batches."""
        return json.loads((self.root / what).read_bytes())

    def lock(self, run: str) -> dict[str, Any]:
        """The recorded `dvc.lock` of a run, by the name that the run's event carries."""
        return outputs(self.root / "var" / "runs" / "locks" / f"{run}.dvc.lock")


def outputs(lock: Path) -> dict[str, Any]:
    stages = yaml.safe_load(lock.read_text())["stages"]
    return {
        name: {out["path"]: (out.get("hash"), out["md5"]) for out in stage["outs"]} for name, stage in stages.items()
    }


def recorded_name(site: Site, dag_id: str) -> str:
    (name,) = recorded_names(site, dag_id)
    return name


def recorded_names(site: Site, dag_id: str) -> list[str]:
    return sorted(path.stem for path in (site.root / "var" / "runs" / "locks").glob(f"{dag_id}.*.json"))


def kill_supervisor(site: Site) -> None:
    """kill -9, after which nothing of Airflow's may be left."""
    os.kill(int((site.root / "var" / "airflow" / "supervisord.pid").read_text()), signal.SIGKILL)
    until(lambda: not_of_the_fleet(site) == [], "all processes to end", limit_s=60)


def not_of_the_fleet(site: Site) -> list[str]:
    return [line for line in processes_in(site.root) if "airflow" in line or "pipelines" in line]


def is_over(site: Site, run: str) -> bool:
    return bool(site.airflow.wait("bundle_and_deploy", run, 0) in FINISHED)


def commit(root: Path, path: str) -> None:
    identity = ("-c", "user.name=t", "-c", "user.email=t@localhost")
    subprocess.run(["git", *identity, "commit", "--quiet", "--message=Change", path], cwd=root, check=True)


def ask_fleet(site: Site, verb: str) -> dict[str, Any]:
    command = [site.root / "bin" / "fleet", verb, "--json"]
    done = subprocess.run(command, env=site.environment, check=True, stdout=subprocess.PIPE)
    status: dict[str, Any] = json.loads(done.stdout)
    return status


def fleet_is_ready(site: Site) -> bool:
    return subprocess.run([site.root / "bin" / "fleet", "status"], env=site.environment, check=False).returncode == 0


def predict(url: str, row: dict[str, Any]) -> dict[str, Any]:
    content = json.dumps({"rows": [row]}).encode()
    request = urllib.request.Request(f"{url}/predict", data=content, headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        prediction: dict[str, Any] = json.load(answer)
    return prediction
