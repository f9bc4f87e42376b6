"""A task's command: the exit code decides about a retry, and Airflow's own settings stay Airflow's."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from harness import PROJECT, processes
from harness.waiting import until

DAGS = PROJECT / "dags"


@pytest.fixture
def tasks(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(DAGS))
    import pipeline_tasks

    return pipeline_tasks


def execute(tasks: Any, script: str, context: Any = None, pushed: list[Any] | None = None, **arguments: Any) -> Any:
    """The result of the operator with a Python script as its command; `pushed` gets its XComs."""
    task = tasks.PipelineCommand(task_id="try", command=[sys.executable, "-c", script], **arguments)
    instance = SimpleNamespace(xcom_push=lambda key, value: pushed.append((key, value)) if pushed is not None else None)
    return task.execute({"ti": instance, **(context or {})})


@pytest.mark.parametrize("code", [64, 65, 78])
def test_a_failure_that_a_retry_cannot_help_fails_at_once(tasks: Any, code: int) -> None:
    from airflow.sdk.exceptions import AirflowFailException

    with pytest.raises(AirflowFailException, match=str(code)):
        execute(tasks, f"raise SystemExit({code})")


@pytest.mark.parametrize("code", [1, 75, 137])
def test_any_other_failure_may_be_retried(tasks: Any, code: int) -> None:
    from airflow.sdk.exceptions import AirflowException, AirflowFailException

    with pytest.raises(AirflowException) as caught:
        execute(tasks, f"raise SystemExit({code})")
    assert not isinstance(caught.value, AirflowFailException)


def test_the_final_exit_codes_are_those_of_the_contract(tasks: Any) -> None:
    from contract.errors import FINAL_EXIT_CODES

    assert tasks.FINAL_EXIT_CODES == FINAL_EXIT_CODES


def test_outcome_becomes_the_xcom_and_no_line_of_the_log(tasks: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[str] = []
    log = SimpleNamespace(info=lambda _format, line: logged.append(line), warning=lambda *_, **__: None)
    monkeypatch.setattr(tasks.PipelineCommand, "log", log)
    outcomes = [
        {"stage": "publish", "state": "running"},
        {"stage": "publish", "state": "ran", "facts": {"digest": "0a"}},
    ]
    lines = [json.dumps(outcomes[0]), "publish: rehearsed", '{"stage": torn', json.dumps(outcomes[1])]
    pushed: list[Any] = []
    execute(tasks, "\n".join(f"print({line!r})" for line in lines), pushed=pushed)
    assert pushed == [("outcome", outcome) for outcome in outcomes]
    assert logged[0].startswith("$ ")
    assert logged[1:] == lines[1:3]


def test_failure_names_the_stage_that_failed(tasks: Any) -> None:
    from airflow.sdk.exceptions import AirflowException

    stages = [{"stage": "train", "state": "ran"}, {"stage": "evaluate", "state": "failed"}]
    outcome = {"stage": "evaluate", "state": "failed", "stages": stages}
    with pytest.raises(AirflowException, match="stage evaluate failed: exit code 75"):
        execute(tasks, f"print({json.dumps(outcome)!r}); raise SystemExit(75)", pushed=[])


def test_failure_names_the_verdict_and_its_reason(tasks: Any) -> None:
    from airflow.sdk.exceptions import AirflowFailException

    facts = {"verdict": "rolled back", "why": "3 server errors of 40", "digest": "0a"}
    outcome, pushed = {"stage": "deploy", "state": "refused", "facts": facts}, []
    with pytest.raises(AirflowFailException, match=r"^rolled back: 3 server errors of 40: exit code 65: a retry"):
        execute(tasks, f"print({json.dumps(outcome)!r}); raise SystemExit(65)", pushed=pushed)
    assert pushed == [("outcome", outcome)]


@pytest.mark.parametrize("missing", ["the program", "the project"])
def test_what_is_missing_on_a_worker_is_named_and_not_tried_again(
    tasks: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, missing: str
) -> None:
    from airflow.sdk.exceptions import AirflowFailException

    nowhere = tmp_path / "nowhere"
    program = str(nowhere) if missing == "the program" else sys.executable
    monkeypatch.setattr(tasks, "PROJECT", nowhere if missing == "the project" else tmp_path)
    task = tasks.PipelineCommand(task_id="try", command=[program, "-m", "pipelines.runs"])
    with pytest.raises(AirflowFailException, match=rf"No such file or directory \({nowhere}\); run `make up` there"):
        task.execute({"params": {}})


def test_a_command_sees_none_of_airflows_settings(tasks: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AIRFLOW__API_AUTH__JWT_SECRET", "s" * 64)
    monkeypatch.setenv("BULKHEAD_STORE", "/somewhere")
    execute(tasks, f"import os, json; json.dump(dict(os.environ), open({str(tmp_path / 'seen')!r}, 'w'))")
    seen = json.loads((tmp_path / "seen").read_bytes())
    assert [name for name in seen if "AIRFLOW" in name] == []
    assert seen["BULKHEAD_STORE"] == "/somewhere"


def test_on_kill_ends_the_command_and_what_it_has_started(tasks: Any, tmp_path: Path) -> None:
    script = f"""
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open({str(tmp_path / "pid")!r}, "w").write(str(child.pid))
print("started", flush=True)
child.wait()
"""
    task = tasks.PipelineCommand(task_id="try", command=[sys.executable, "-c", script])
    lines = task._lines()
    while next(lines) != "started":
        pass
    task.on_kill()
    assert list(lines) == []
    assert task.process.wait() != 0
    until(lambda: not processes.running_of([int((tmp_path / "pid").read_text())]))


@pytest.mark.parametrize(("key", "expected"), [("2013-01", []), (None, ["2013-02"])])
def test_the_event_names_the_month_when_the_run_has_no_key(tasks: Any, key: str | None, expected: list[str]) -> None:
    record = {"run": "r", "through": "2013-02"}
    partitions: list[str] = []
    event = SimpleNamespace(extra=None, add_partitions=partitions.append)
    context = {
        "outlet_events": {tasks.VALIDATED: event},
        "dag_run": SimpleNamespace(partition_key=key, run_type="manual"),
    }
    said = json.dumps({"stage": "record", "state": "ran", "facts": record})
    execute(tasks, f"print({said!r})", context, pushed=[], outlets=[tasks.VALIDATED])
    assert event.extra == record
    assert partitions == expected


def test_a_backfill_announces_its_models_and_not_its_months(tasks: Any) -> None:
    from airflow.sdk.exceptions import AirflowSkipException

    events = {asset: SimpleNamespace(extra=None) for asset in (tasks.VALIDATED, tasks.APPROVED)}
    context = {"outlet_events": events, "dag_run": SimpleNamespace(partition_key="2013-01", run_type="backfill")}
    outcome = json.dumps({"stage": "record", "state": "ran", "facts": {"run": "r"}})
    said = f"print({outcome!r})"
    with pytest.raises(AirflowSkipException, match="backfill train_and_evaluate"):
        execute(tasks, said, context, pushed=[], outlets=[tasks.VALIDATED])
    execute(tasks, said, context, pushed=[], outlets=[tasks.APPROVED])
    assert [event.extra for event in events.values()] == [None, {"run": "r"}]
