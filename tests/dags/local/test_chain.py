"""PostgreSQL, Celery over Redis, workers of two checkouts with one bucket and no shared file system: a new month goes live.

Every task lands on the worker of the other checkout, which is killed in the middle of training; the worker beside the fleet goes on.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness import PROJECT, interpreter, object_stores
from harness.ports import free_ports
from harness.slice import MONTHS, copy_project
from harness.waiting import until
from tests.dags.airflow_rest import Airflow
from tests.dags.machine import celery_control, listening_addresses, processes_in, without_airflow, worker_in
from tests.faults.places import ODD

CELERY = interpreter("cluster").with_name("celery")
# A worker that is gone is noticed after 45 s instead of five minutes; a loaded machine delays heartbeats by far less.
HEARTBEAT = "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT"
REMOTE = "[core]\nremote = bucket\n['remote \"bucket\"']\nurl = s3://models/dvc\n"
LIMIT_S = 1200

pytestmark = [
    pytest.mark.skipif("BULKHEAD_TEST_CHAIN" not in os.environ, reason="takes minutes: `make test-chain`"),
    pytest.mark.skipif(not CELERY.exists(), reason="needs the environment `cluster` beside this one"),
    pytest.mark.skipif(shutil.which("redis-server") is None, reason="needs Debian's redis-server"),
    pytest.mark.skipif(not list(Path("/usr/lib/postgresql").glob("*/bin/initdb")), reason="needs Debian's postgresql"),
]


@dataclass(frozen=True)
class Site:
    """Airflow and the fleet in one checkout; another one, of the same git remote and bucket."""

    root: Path
    other: Path
    environment: dict[str, str]
    airflow: Airflow

    def airflow_local(self, *words: str) -> str:
        command = [sys.executable, self.root / "bin" / "airflow-local", *words]
        return subprocess.run(command, env=self.environment, check=True, stdout=subprocess.PIPE, text=True).stdout

    def fleet(self, verb: str) -> dict[str, Any]:
        command = [self.root / "bin" / "fleet", verb, "--json"]
        done = subprocess.run(command, cwd=self.root, env=self.environment, check=True, stdout=subprocess.PIPE)
        status: dict[str, Any] = json.loads(done.stdout)
        return status

    def end(self, *program: str | Path) -> None:
        """Take Airflow or the fleet down; again where a loaded machine answers too late."""
        down = [*program, "down"]
        until(
            lambda: subprocess.run(down, cwd=self.root, env=self.environment, check=False).returncode == 0,
            f"{program[-1]} to go down",
            limit_s=LIMIT_S,
        )


def checkouts(root: Path, other: Path) -> None:
    copy_project(root)
    remote = other.with_name("remote.git")
    for command in (
        ["git", "clone", "--quiet", "--bare", root, remote],
        ["git", "-C", root, "remote", "add", "origin", remote],
        ["git", "clone", "--quiet", remote, other],
    ):
        subprocess.run(command, check=True)
    for place in (root, other):
        (place / ".venv").symlink_to(PROJECT / ".venv")
        (place / ".dvc" / "config.local").write_text(REMOTE)


@pytest.fixture(scope="module")
def site() -> Iterator[Site]:
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chain-")))
        bucket = stack.enter_context(object_stores.s3())
        root, other = directory / ODD, directory / "other"
        checkouts(root, other)
        port, redis_port, database_port, http_port, grpc_port = free_ports(5)
        environment = {name: value for name, value in without_airflow().items() if not name.startswith("BULKHEAD")}
        environment |= bucket | {
            "BULKHEAD_AIRFLOW_PORT": str(port),
            "BULKHEAD_AIRFLOW_REDIS_PORT": str(redis_port),
            "BULKHEAD_AIRFLOW_POSTGRESQL_PORT": str(database_port),
            "BULKHEAD_HTTP_PORT": str(http_port),
            "BULKHEAD_GRPC_PORT": str(grpc_port),
            "BULKHEAD_STATUS_PORT": "0",
            "BULKHEAD_REPLICA_PORT": "18300",  # it takes the first from there that are free
            "BULKHEAD_STORE": "s3://models/store",
            "BULKHEAD_RUNS": "s3://models/runs",
            "BULKHEAD_CHECKPOINTS": "s3://models/checkpoints",
            "BULKHEAD_TRAINING_WEIGHT": "none",
            HEARTBEAT: "45",
            f"{HEARTBEAT}_DETECTION_INTERVAL": "2",
        }
        made = Site(root, other, environment, Airflow(f"http://127.0.0.1:{port}"))
        # In the reverse order, each also where the one before fails.
        stack.callback(lambda: until(lambda: not processes_in(root), "all processes to end", limit_s=LIMIT_S))
        stack.callback(made.end, root / "bin" / "fleet")
        stack.callback(made.end, sys.executable, root / "bin" / "airflow-local")
        made.airflow_local("up", "--executor", "celery")
        yield made


def succeeded(site: Site, dag: str, run: str) -> None:
    assert site.airflow.wait(dag, run, LIMIT_S) == "success", site.airflow.failures(dag, run)


def outputs(text: str) -> dict[str, Any]:
    stages = yaml.safe_load(text)["stages"]
    return {
        name: {out["path"]: (out.get("hash"), out["md5"]) for out in stage["outs"]} for name, stage in stages.items()
    }


def test_servers_listen_on_the_loopback_interface_only_and_secrets_are_private(site: Site) -> None:
    for name in ("PORT", "REDIS_PORT", "POSTGRESQL_PORT"):
        assert listening_addresses(int(site.environment[f"BULKHEAD_AIRFLOW_{name}"])) == {"0100007F"}
    home = site.root / "var" / "airflow"
    for name in ("worker.env", "redis-password", "postgresql-password", "redis/redis.conf", "jwt-secret", "postgresql"):
        assert (home / name).stat().st_mode & 0o077 == 0, name
    worker = (home / "worker.env").read_text()
    for name in ("postgresql-password", "jwt-secret", "api-secret"):  # what no worker needs
        assert (home / name).read_text() not in worker
    status = json.loads(site.airflow_local("status"))
    assert (status["database"], status["executor"]) == ("postgresql", "celery")
    assert set(status["programs"].values()) == {"RUNNING"}


def test_month_goes_live_when_the_worker_that_trains_is_killed(site: Site) -> None:
    passwords = json.loads((site.root / "var" / "airflow" / "passwords.json").read_bytes())
    site.airflow.log_in("admin", passwords["admin"])
    until(lambda: len(site.airflow.call("GET", "/api/v2/dags")["dags"]) >= 4, "all DAGs to be read", limit_s=LIMIT_S)
    celery_control(site.root, "cancel_consumer", "default")
    with worker_in(site.other, site.root, site.environment, LIMIT_S):
        first = site.airflow.trigger("collect_and_validate", partition_key=MONTHS[-1])
        until(lambda: any("pipelines train" in line for line in processes_in(site.other)), "training", limit_s=LIMIT_S)
    second = site.airflow.wait_for_run("train_and_evaluate", LIMIT_S)
    site.fleet("up")
    celery_control(site.root, "add_consumer", "default")
    succeeded(site, "collect_and_validate", first)
    succeeded(site, "train_and_evaluate", second)
    assert site.airflow.tasks("train_and_evaluate", second)["evaluate"]["try_number"] >= 2
    third = site.airflow.wait_for_run("bundle_and_deploy", LIMIT_S)
    succeeded(site, "bundle_and_deploy", third)
    path = f"/api/v2/dags/bundle_and_deploy/dagRuns/{third}/taskInstances/publish/xcomEntries/outcome"
    published = site.airflow.call("GET", path)["value"]["facts"]["digest"]
    assert site.fleet("status")["live"]["digest"] == published
    assert not list(site.root.glob("*AIRFLOW_HOME*"))  # every log lies below the home, whose path has a percent sign
    if made := os.environ.get("BULKHEAD_TEST_SLICE"):
        (recorded,) = (site.root / "var" / "runs" / "locks").glob("bundle_and_deploy.*.dvc.lock")
        assert outputs(recorded.read_text()) == outputs((Path(made) / "dvc.lock").read_text())
