"""A real Airflow runs the real pipeline on a two-month slice, gives what `dvc repro` gives, and deploys it to a real fleet.

Two copies of the working tree, each with its own cache: `dvc repro` in one, Airflow's supervisor and a fleet in the other.
Two minutes. The limits are far above what anything takes: the machine may have other work.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness import PROJECT, interpreter
from harness.ports import free_ports
from harness.slice import MONTHS, copy_project
from harness.waiting import until
from tests.dags.airflow_rest import Airflow
from tests.dags.machine import (
    end_sooner,
    listening_addresses,
    make_impatient,
    processes_in,
    put_database,
    without_airflow,
)
from tests.dags.real_site import (
    DAGS,
    Site,
    ask_fleet,
    commit,
    fleet_is_ready,
    is_over,
    kill_supervisor,
    outputs,
    predict,
    recorded_name,
    recorded_names,
)
from tests.faults.places import ODD
from tests.fleet.crowds import load

FLIGHT = {
    "carrier": "B6",
    "origin": "JFK",
    "dest": "BOS",
    "distance": 187,
    "scheduled_departure": "2013-05-24T17:30",
    "scheduled_arrival": "2013-05-24T18:45",
}

# Rounds of boosting that the first attempt at training begins; the checkpoint before has 100.
KILLED_AT, CHECKPOINT = 130, 100

pytestmark = pytest.mark.skipif(
    not interpreter("pipeline").exists(), reason="needs the pipeline environment beside this one"
)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which a plain `dvc repro` has run."""
    root = Path(os.environ.get("BULKHEAD_TEST_SLICE") or tmp_path_factory.mktemp("plain") / "project")
    if not root.exists():
        subprocess.run([interpreter("pipeline"), "-m", "harness.slice", root], cwd=PROJECT, check=True)
    return root


@pytest.fixture(scope="module")
def plain(undisturbed: Path) -> dict[str, Any]:
    """The output digests of a plain `dvc repro`, stage by stage."""
    return outputs(undisturbed / "dvc.lock")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    root = tmp_path_factory.mktemp("site") / ODD
    copy_project(root)
    make_impatient(root)
    end_sooner(root, 3)  # where supervisord is killed, not all of them stop at SIGTERM
    (root / ".venv").symlink_to(PROJECT / ".venv")
    port, http_port, grpc_port = free_ports(3)
    environment = without_airflow() | {
        "BULKHEAD_AIRFLOW_PORT": str(port),
        "BULKHEAD_HTTP_PORT": str(http_port),
        "BULKHEAD_GRPC_PORT": str(grpc_port),
        "BULKHEAD_STATUS_PORT": "0",
        "BULKHEAD_REPLICA_PORT": "18100",  # it takes the first from there that are free
        "BULKHEAD_STORE": str(root / "store"),
        "BULKHEAD_VAR": str(root / "var"),
        "BULKHEAD_PIPELINE_PYTHON": str(_counting_python(root)),
        "DRILL_ROUNDS": str(root / "var" / "rounds"),
        "DRILL_KILL_AT": str(KILLED_AT),
    }
    (root / "var" / "airflow").mkdir(parents=True, mode=0o700)
    put_database(root / "var" / "airflow")
    made = Site(root, environment, Airflow(f"http://127.0.0.1:{port}"))
    try:
        made.control("up")
        made.log_in()
        yield made
    finally:
        made.control("down")
        assert processes_in(root) == []


@pytest.fixture(scope="module")
def fleet(site: Site) -> Iterator[None]:
    """A running fleet that serves nothing yet, on ports, store and state of the site's own."""
    try:
        status = ask_fleet(site, "up")
        assert (status["running"], status["live"]) == (True, None)
        yield
    finally:
        ask_fleet(site, "down")


@pytest.fixture(scope="module")
def trained(site: Site, fleet: None) -> str:
    """A run of `train_and_evaluate`, triggered through REST, that went well although its training was killed once. Its id."""
    run = site.airflow.trigger("train_and_evaluate", partition_key=MONTHS[-1])
    state = site.airflow.wait("train_and_evaluate", run, 400)
    assert state == "success", site.airflow.failures("train_and_evaluate", run)
    return run


@pytest.fixture(scope="module")
def deployed(site: Site, trained: str) -> str:
    """The run of `bundle_and_deploy` that the approved model brought about, which went well. Its id."""
    run = site.airflow.wait_for_run("bundle_and_deploy", 400)
    assert site.airflow.wait("bundle_and_deploy", run, 400) == "success", site.airflow.failures(
        "bundle_and_deploy", run
    )
    return run


def test_the_dags_load_and_nothing_runs_by_itself(site: Site) -> None:
    dags = {dag["dag_id"]: dag for dag in site.airflow.call("GET", "/api/v2/dags")["dags"]}
    assert dags.keys() == DAGS
    assert not any(dag["is_paused"] for dag in dags.values())
    assert site.airflow.call("GET", "/api/v2/importErrors")["import_errors"] == []


def test_it_listens_on_the_loopback_interface_only(site: Site) -> None:
    port = int(site.environment["BULKHEAD_AIRFLOW_PORT"])
    assert listening_addresses(port) == {"0100007F"}


def test_secrets_are_readable_by_their_owner_only(site: Site) -> None:
    home = site.root / "var" / "airflow"
    assert home.stat().st_mode & 0o077 == 0
    for name in ("jwt-secret", "api-secret", "passwords.json"):
        assert (home / name).stat().st_mode & 0o077 == 0
    password = json.loads((home / "passwords.json").read_bytes())["admin"]
    assert not any(password in path.read_text(errors="replace") for path in (home / "logs").glob("*.log"))


def test_a_run_gives_the_digests_of_dvc_repro(site: Site, trained: str, plain: dict[str, Any]) -> None:
    recorded = site.lock(recorded_name(site, "train_and_evaluate"))
    assert recorded == {stage: digests for stage, digests in plain.items() if stage != "bundle"}


def test_training_that_was_killed_half_way_went_on_from_its_checkpoint(
    site: Site, trained: str, undisturbed: Path
) -> None:
    """To the digests of the test above. The rounds are grown twice: until they stop helping, and as many again on all rows."""
    attempts = site.airflow.tasks("train_and_evaluate", trained)["evaluate"]["try_number"]
    rounds = json.loads((undisturbed / "models" / "training.json").read_bytes())["rounds"]
    patience = yaml.safe_load((undisturbed / "params.yaml").read_text())["train"]["early_stopping_rounds"]
    repeated = (site.root / "var" / "rounds").stat().st_size - (2 * rounds + patience)
    assert (attempts, repeated) == (2, KILLED_AT - CHECKPOINT)


def test_a_backfill_until_today_lists_months_that_are_over_and_have_no_run(site: Site, trained: str) -> None:
    now = datetime.now(UTC)
    asked = {"dag_id": "train_and_evaluate", "from_date": f"{MONTHS[0]}-01T00:00:00Z", "to_date": now.isoformat()}
    listed = site.airflow.call("POST", "/api/v2/backfills/dry_run", asked)["backfills"]
    keys = {entry["partition_key"] for entry in listed}
    assert MONTHS[0] in keys
    assert not {MONTHS[-1], f"{now:%Y-%m}"} & keys


def test_a_run_leaves_its_record_and_no_workspace(site: Site, trained: str) -> None:
    name = recorded_name(site, "train_and_evaluate")
    assert (site.root / "var" / "runs" / "reports" / name / "reports" / "verdict.html").is_file()
    until(lambda: not (site.root / "var" / "runs" / name).exists(), "the workspace to go")


def test_only_outcomes_travel_between_tasks(site: Site, trained: str) -> None:
    for task in site.airflow.tasks("train_and_evaluate", trained):
        path = f"/api/v2/dags/train_and_evaluate/dagRuns/{trained}/taskInstances/{task}/xcomEntries"
        keys = [entry["key"] for entry in site.airflow.call("GET", path)["xcom_entries"]]
        sent = [key for key in keys if not key.startswith("link_")]  # addresses of pages, for the UI
        assert sent == (["outcome"] if task in ("evaluate", "record") else [])


def test_outcome_tells_of_each_stage_and_each_month(site: Site, trained: str) -> None:
    outcome = site.airflow.outcome("train_and_evaluate", trained, "evaluate")
    assert (outcome["stage"], outcome["state"]) == ("evaluate", "ran")
    stages = {stage["stage"]: stage for stage in outcome["stages"]}
    assert set(stages) == {
        "declare", "collect", "validate", "features", "screen", "tune", "train", "staleness", "champion", "evaluate"
    }  # fmt: skip
    # It is that of the second attempt: the first one was killed in `train`, and had done what comes before.
    ran = {name for name, stage in stages.items() if stage["state"] == "ran"}
    assert ran == {"train", "staleness", "champion", "evaluate"}
    assert [month["month"] for month in stages["collect"]["months"]] == MONTHS
    assert {month["state"] for month in stages["collect"]["months"]} == {"unchanged"}
    assert outcome["facts"]["verdict"] == "approved"
    assert 0.5 < outcome["facts"]["scores"]["roc_auc"] < 1
    assert Path(outcome["links"]["report"]).is_file()


def test_the_approved_model_goes_live_on_the_running_fleet(site: Site, deployed: str, plain: dict[str, Any]) -> None:
    assert site.lock(recorded_name(site, "bundle_and_deploy")) == plain
    published = site.airflow.outcome("bundle_and_deploy", deployed, "publish")["facts"]["digest"]
    assert re.fullmatch(r"[0-9a-f]{64}", published)
    until(lambda: fleet_is_ready(site), "the fleet to be ready")
    status = ask_fleet(site, "status")
    assert status["live"]["digest"] == published
    assert [replica["digest"] for replica in status["replicas"] if replica["ready"]] == [published] * status["size"]
    answer = predict(status["http"], FLIGHT)
    assert answer["model"]["version"] == published
    assert 0 < answer["predictions"][0]["probability"] < 1


@pytest.fixture(scope="module")
def asked(site: Site, deployed: str) -> dict[str, str]:
    """The ids of runs that are asked for at once, by their DAGs: of a wrong month, of a run that nobody knows, and of the live model."""
    conf = {
        "collect_and_validate": {"through": "2012-01"},
        "bundle_and_deploy": {"run": "nobody"},
        "monitor": {"through": MONTHS[-1]},
    }
    return {dag: site.airflow.trigger(dag, conf=given) for dag, given in conf.items()}


def test_a_wrong_month_fails_at_once_with_the_reason_in_the_log(site: Site, asked: dict[str, str]) -> None:
    run = asked["collect_and_validate"]
    assert site.airflow.wait("collect_and_validate", run, 400) == "failed"
    tasks = site.airflow.tasks("collect_and_validate", run)
    assert (tasks["open"]["state"], tasks["open"]["try_number"]) == ("failed", 1)
    assert tasks["validate"]["state"] == "upstream_failed"
    assert f"the first one in data.months of params.yaml is {MONTHS[0]}" in site.airflow.log(
        "collect_and_validate", run, "open"
    )


def test_a_run_that_does_not_exist_is_named_with_those_that_do(site: Site, asked: dict[str, str]) -> None:
    run = asked["bundle_and_deploy"]
    assert site.airflow.wait("bundle_and_deploy", run, 400) == "failed"
    assert site.airflow.tasks("bundle_and_deploy", run)["open"]["try_number"] == 1
    said = site.airflow.log("bundle_and_deploy", run, "open")
    assert "run 'nobody' left no record" in said
    assert recorded_name(site, "train_and_evaluate") in said


def test_live_model_is_scored_on_a_month(site: Site, asked: dict[str, str]) -> None:
    run = asked["monitor"]
    assert site.airflow.wait("monitor", run, 400) == "success", site.airflow.failures("monitor", run)
    assert "when approved" in site.airflow.log("monitor", run, "monitor")


def test_serving_goes_on_and_nothing_is_there_twice_when_the_database_is_lost(
    site: Site, deployed: str, plain: dict[str, Any]
) -> None:
    """Broken in the middle of a run, then everything of Airflow killed; a run of the new one does all again, from the first stage on."""
    outside = ("store/channels/live.json", "store/channels/candidate.json", "var/quarantine/ledger.json")
    before = {what: site.state_of(what) for what in outside}
    published = before[outside[0]]["digest"]
    ports = (int(site.environment[f"BULKHEAD_{protocol}_PORT"]) for protocol in ("HTTP", "GRPC"))
    with load.running(*ports, site.root / "store" / "bundles" / published, pause_s=0.05) as seen:
        run = site.airflow.trigger("collect_and_validate", conf={"through": MONTHS[-1]})
        until(
            lambda: site.airflow.tasks("collect_and_validate", run)["open"]["state"] in ("running", "success"),
            "the first task to begin",
            limit_s=120,
        )
        (site.root / "var" / "airflow" / "airflow.db").write_bytes(b"not a database")
        kill_supervisor(site)
        site.control("up")
        site.log_in()
        assert site.airflow.runs("bundle_and_deploy") == []
        run = site.airflow.trigger("bundle_and_deploy", conf={"through": MONTHS[-1]})
        assert site.airflow.wait("bundle_and_deploy", run, 400) == "success", site.airflow.failures(
            "bundle_and_deploy", run
        )
    seen.check(published)
    assert site.airflow.outcome("bundle_and_deploy", run, "publish")["facts"]["digest"] == published
    records = recorded_names(site, "bundle_and_deploy")
    assert [site.lock(name) for name in records] == [plain, plain]
    after = {what: site.state_of(what) for what in outside}
    assert after == before
    assert {batch["month"]: batch["state"] for batch in after[outside[2]].values()} == dict.fromkeys(MONTHS, "accepted")
    assert len(after[outside[2]]) == len(MONTHS)
    assert [path.name for path in (site.root / "store" / "bundles").iterdir()] == [published]


def test_dry_run_says_what_would_run_and_a_forced_run_ends_with_the_verdict_on_its_canary(
    site: Site, deployed: str
) -> None:
    """Of a commit with other serving code: another bundle of the same model. Its trial is ended by a person, sooner than by the judge."""
    live = site.state_of("store/channels/live.json")["digest"]
    served = site.root / "bentos" / "__init__.py"
    served.write_text(f"{served.read_text()}\n# Another bundle.\n")
    commit(site.root, "bentos")
    run = site.airflow.trigger("bundle_and_deploy", conf={"through": MONTHS[-1], "dry_run": True})
    assert site.airflow.wait("bundle_and_deploy", run, 400) == "success", site.airflow.failures(
        "bundle_and_deploy", run
    )
    states = {name: task["state"] for name, task in site.airflow.tasks("bundle_and_deploy", run).items()}
    done = dict.fromkeys(("open", "bundle", "close"), "success")
    assert states == done | dict.fromkeys(("publish", "deploy"), "skipped")
    said = {
        stage["stage"]: stage["state"] for stage in site.airflow.outcome("bundle_and_deploy", run, "bundle")["stages"]
    }
    assert said.pop("bundle") == "would run"
    assert set(said.values()) <= {"unchanged", "ran"}
    assert site.state_of("store/channels/candidate.json")["digest"] == live

    ports = (int(site.environment[f"BULKHEAD_{protocol}_PORT"]) for protocol in ("HTTP", "GRPC"))
    with load.running(*ports, site.root / "store" / "bundles" / live, pause_s=0.02) as seen:
        run = site.airflow.trigger("bundle_and_deploy", conf={"through": MONTHS[-1], "force": True, "canary": "always"})
        trial = site.root / "var" / "fleet" / "canary.json"
        until(lambda: trial.exists() or is_over(site, run), "the trial", limit_s=400)
        canary = ask_fleet(site, "promote")["live"]["digest"]
        assert site.airflow.wait("bundle_and_deploy", run, 400) == "success", site.airflow.failures(
            "bundle_and_deploy", run
        )
    seen.check(live, canary)
    bundled = site.airflow.outcome("bundle_and_deploy", run, "bundle")["stages"]
    assert [stage["state"] for stage in bundled if stage["stage"] == "bundle"] == ["ran"]
    facts = site.airflow.outcome("bundle_and_deploy", run, "deploy")["facts"]
    assert (facts["verdict"], facts["digest"]) == ("promoted", canary)
    assert canary not in (live, None)
    assert site.state_of("store/channels/live.json")["digest"] == canary


def test_nothing_is_left_when_the_supervisor_is_killed(site: Site) -> None:
    kill_supervisor(site)


def _counting_python(root: Path) -> Path:
    """The pipeline's interpreter, which counts the rounds of boosting and kills the one that begins KILLED_AT."""
    path = root.parent / "counting-python"
    counting = PROJECT / "drills" / "training" / "counting"
    path.write_text(f'#!/bin/sh\nPYTHONPATH="{counting}" exec "{interpreter("pipeline")}" "$@"\n')
    path.chmod(0o755)
    return path
