"""A real Airflow runs the real pipeline on a two-month slice, and gives what `dvc repro` gives, digest by digest.

Two copies of the working tree, each with its own cache: `dvc repro` in one, Airflow's supervisor in the other. Three minutes.
"""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.dags.airflow_rest import Airflow
from tests.slice import MONTHS, copy_project

PROJECT = Path(__file__).parents[2]
PIPELINE_PYTHON = PROJECT / ".venv" / "pipeline" / "bin" / "python"

pytestmark = pytest.mark.skipif(not PIPELINE_PYTHON.exists(), reason="needs the pipeline environment beside this one")


@dataclass(frozen=True)
class Site:
    """A copy of the project with an Airflow of its own."""

    root: Path
    environment: dict[str, str]
    airflow: Airflow

    def lock(self, run: str) -> dict[str, Any]:
        """The recorded `dvc.lock` of a run, by the name that the run's event carries."""
        return outputs(self.root / "var" / "runs" / "locks" / f"{run}.dvc.lock")


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The output digests of a plain `dvc repro`, stage by stage."""
    root = tmp_path_factory.mktemp("plain") / "project"
    subprocess.run([PIPELINE_PYTHON, "-m", "tests.slice", root], cwd=PROJECT, check=True)
    return outputs(root / "dvc.lock")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    root = tmp_path_factory.mktemp("site") / "project"
    copy_project(root)
    (root / ".venv").symlink_to(PROJECT / ".venv")
    port = free_port()
    environment = without_airflow() | {
        "BULKHEAD_AIRFLOW_PORT": str(port),
        "BULKHEAD_HTTP_PORT": str(free_port()),
        "BULKHEAD_GRPC_PORT": str(free_port()),
    }
    control = [sys.executable, root / "bin" / "airflow-local"]
    try:
        subprocess.run([*control, "up"], env=environment, check=True)
        password = json.loads((root / "var" / "airflow" / "passwords.json").read_bytes())["admin"]
        yield Site(root, environment, Airflow(f"http://127.0.0.1:{port}", "admin", password))
    finally:
        subprocess.run([*control, "down"], env=environment, check=True)
        assert processes_in(root) == []


@pytest.fixture(scope="module")
def trained(site: Site) -> str:
    """A run of `train_and_evaluate`, triggered through REST, that went well. Its id."""
    run = site.airflow.trigger("train_and_evaluate", partition_key=MONTHS[-1])
    state = site.airflow.wait("train_and_evaluate", run, 150)
    assert state == "success", site.airflow.tasks("train_and_evaluate", run)
    return run


def test_the_dags_load_and_nothing_runs_by_itself(site: Site) -> None:
    dags = {dag["dag_id"]: dag for dag in site.airflow.call("GET", "/api/v2/dags")["dags"]}
    assert set(dags) == {"collect_and_validate", "train_and_evaluate", "bundle_and_deploy", "monitor"}
    assert not any(dag["is_paused"] for dag in dags.values())
    assert site.airflow.call("GET", "/api/v2/importErrors")["import_errors"] == []


def test_it_listens_on_the_loopback_interface_only(site: Site) -> None:
    port = int(site.environment["BULKHEAD_AIRFLOW_PORT"])
    assert listening_addresses(port) == {"0100007F"}


def test_secrets_are_readable_by_their_owner_only(site: Site) -> None:
    home = site.root / "var" / "airflow"
    for name in ("jwt-secret", "api-secret", "passwords.json"):
        assert (home / name).stat().st_mode & 0o077 == 0
    password = json.loads((home / "passwords.json").read_bytes())["admin"]
    assert not any(password in path.read_text(errors="replace") for path in (home / "logs").glob("*.log"))


def test_a_run_gives_the_digests_of_dvc_repro(site: Site, trained: str, plain: dict[str, Any]) -> None:
    recorded = site.lock(recorded_name(site, "train_and_evaluate"))
    assert recorded == {stage: digests for stage, digests in plain.items() if stage != "bundle"}


def test_a_run_leaves_its_record_and_no_workspace(site: Site, trained: str) -> None:
    name = recorded_name(site, "train_and_evaluate")
    assert (site.root / "var" / "runs" / "reports" / name / "reports" / "evaluation.html").is_file()
    assert wait_until(lambda: not (site.root / "var" / "runs" / name).exists())


def test_only_digests_and_names_travel_between_tasks(site: Site, trained: str) -> None:
    for task in site.airflow.tasks("train_and_evaluate", trained):
        path = f"/api/v2/dags/train_and_evaluate/dagRuns/{trained}/taskInstances/{task}/xcomEntries"
        assert site.airflow.call("GET", path)["xcom_entries"] == []


def test_the_approved_model_is_bundled_and_published(site: Site, trained: str, plain: dict[str, Any]) -> None:
    run = site.airflow.wait_for_run("bundle_and_deploy", 30)
    assert wait_until(lambda: finished(site, run, "publish"), 60)
    published = xcom(site, run, "publish")
    assert re.fullmatch(r"[0-9a-f]{64}", published)
    candidate = json.loads((site.root / "store" / "channels" / "candidate.json").read_bytes())
    assert candidate["digest"] == published


def test_a_wrong_month_fails_at_once_with_the_reason_in_the_log(site: Site) -> None:
    run = site.airflow.trigger("collect_and_validate", conf={"through": "2012-01"})
    assert site.airflow.wait("collect_and_validate", run, 60) == "failed"
    tasks = site.airflow.tasks("collect_and_validate", run)
    assert (tasks["open"]["state"], tasks["open"]["try_number"]) == ("failed", 1)
    assert tasks["collect"]["state"] == "upstream_failed"
    assert f"params.yaml lists {MONTHS[0]} as the first" in site.airflow.log("collect_and_validate", run, "open")


def outputs(lock: Path) -> dict[str, Any]:
    stages = yaml.safe_load(lock.read_text())["stages"]
    return {
        name: {out["path"]: (out.get("hash"), out["md5"]) for out in stage["outs"]} for name, stage in stages.items()
    }


def recorded_name(site: Site, dag_id: str) -> str:
    records = list((site.root / "var" / "runs" / "locks").glob(f"{dag_id}.*.json"))
    assert len(records) == 1
    return records[0].stem


def finished(site: Site, run: str, task: str) -> bool:
    return site.airflow.tasks("bundle_and_deploy", run)[task]["state"] in {"success", "failed", "upstream_failed"}


def xcom(site: Site, run: str, task: str) -> str:
    path = f"/api/v2/dags/bundle_and_deploy/dagRuns/{run}/taskInstances/{task}/xcomEntries/return_value"
    return str(site.airflow.call("GET", path)["value"])


def without_airflow() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if "AIRFLOW" not in name}


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def listening_addresses(port: int) -> set[str]:
    """The local addresses, as the kernel writes them, on which somebody listens to the port; IPv4 and IPv6."""
    lines = [
        line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
    ]
    return {line[1].split(":")[0] for line in lines if line[3] == "0A" and int(line[1].split(":")[1], 16) == port}


def processes_in(root: Path) -> list[str]:
    """What still runs with the copy's path on its command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(root) in words:
            found.append(words)
    return found


def wait_until(condition: Callable[[], bool], limit_s: float = 20) -> bool:
    deadline = time.monotonic() + limit_s
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.2)
    return condition()
