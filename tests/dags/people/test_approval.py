"""A person decides whether a model is deployed; without one, or rejected, the live model stays. And a form that does what it says."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from urllib.parse import quote

from harness.waiting import until
from tests.dags.people.conftest import Site

DAG = "bundle_and_deploy"


def asked(site: Site) -> str:
    """A run that waits for a person."""
    run, log = site.airflow.trigger(DAG, conf={"through": "2013-01"}), site.var / "airflow" / "logs" / "scheduler.log"
    until(lambda: states(site, run)["approve"] == "awaiting_input", "the question", limit_s=240)
    # Airflow hears seconds later that the task which asked has ended; of one that was answered before, it takes that for a failure.
    finished = f"TaskInstance Finished: dag_id={DAG}, task_id=approve, run_id={run},"
    until(lambda: finished in log.read_text(), "the end of the task that asked", limit_s=240)
    return run


def states(site: Site, run: str) -> dict[str, str]:
    return {name: task["state"] for name, task in site.airflow.tasks(DAG, run).items()}


def ended(site: Site, run: str, decide: Callable[[], object]) -> tuple[str, dict[str, str], bool]:
    """The run's state after the decision, those of its tasks, and whether the fleet was told to deploy."""
    calls = len(site.calls())
    decide()
    state = site.airflow.wait(DAG, run, 240)
    return state, states(site, run), any(call.startswith("deploy ") for call in site.calls()[calls:])


def question(run: str) -> str:
    return f"/api/v2/dags/{DAG}/dagRuns/{quote(run)}/taskInstances/approve/-1/hitlDetails"


def answer(site: Site, run: str, option: str) -> Callable[[], object]:
    return lambda: site.airflow.call("PATCH", question(run), {"chosen_options": [option], "params_input": {}})


def test_model_is_deployed_when_a_person_approves(site: Site) -> None:
    run = asked(site)
    detail = site.airflow.call("GET", question(run))
    assert detail["subject"] == "Deploy the model of 2013-01?"
    assert '"stage"' in detail["body"]  # what the command `describe` printed
    report = f"{site.airflow.url}/bulkhead/runs/{DAG}/{quote(run)}/reports/evaluation.html"
    assert f"[Report]({report})" in detail["body"]
    # A run that waits for a person is not one that stands still.
    until(lambda: site.watch(1, "--once").returncode == 0, "progress")
    state, tasks, told = ended(site, run, answer(site, run, "Approve"))
    assert (state, tasks["deploy"], told) == ("success", "success", True)
    links = site.airflow.call("GET", f"/api/v2/dags/{DAG}/dagRuns/{quote(run)}/taskInstances/bundle/links")[
        "extra_links"
    ]
    assert links["Report"] == report


def test_live_model_stays_when_a_person_rejects(site: Site) -> None:
    run = asked(site)
    state, tasks, told = ended(site, run, answer(site, run, "Reject"))
    assert (state, tasks["approve"], tasks["deploy"], told) == ("success", "success", "skipped", False)
    assert (
        "rejected by admin: it is not deployed; the live model stays" in site.airflow.log(DAG, run, "approve").lower()
    )


def test_live_model_stays_and_nobody_is_asked_again_when_nobody_answers(site: Site) -> None:
    run = asked(site)

    def let_a_day_pass() -> None:
        with closing(sqlite3.connect(site.var / "airflow" / "airflow.db", timeout=60)) as database, database:
            database.execute("UPDATE task_instance SET trigger_timeout = '2013-01-01' WHERE state = 'awaiting_input'")

    state, tasks, told = ended(site, run, let_a_day_pass)
    assert (state, tasks["approve"], tasks["deploy"], told) == ("failed", "failed", "upstream_failed", False)
    assert site.airflow.tasks(DAG, run)["approve"]["try_number"] == 1
    assert "nobody answered within 24 h, so the model is not deployed" in site.airflow.log(DAG, run, "approve")


def test_dry_run_announces_and_records_nothing_and_force_is_passed_on(site: Site) -> None:
    run = site.airflow.trigger("collect_and_validate", conf={"through": "2013-02", "dry_run": True, "force": True})
    assert site.airflow.wait("collect_and_validate", run, 240) == "success"
    tasks = site.airflow.tasks("collect_and_validate", run)
    assert {name: task["state"] for name, task in tasks.items() if name != "open"} == {
        "validate": "success",
        "record": "skipped",
        "close": "success",
    }
    calls = [call for call in site.calls() if run in call]
    assert [call.split(" --run ")[0].rpartition(" ")[2] for call in calls] == ["open", "repro", "close"]
    assert calls[1].endswith("validate --force --dry-run")
    assert calls[2].endswith(" --dry-run")
    events = site.airflow.call("GET", "/api/v2/assets/events")["asset_events"]
    assert run not in [event["source_run_id"] for event in events]
