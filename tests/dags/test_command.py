"""A task's command: the exit code decides about a retry, and Airflow's own settings stay Airflow's."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from harness import PROJECT

DAGS = PROJECT / "dags"


@pytest.fixture
def tasks(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(DAGS))
    import pipeline_tasks

    return pipeline_tasks


def execute(tasks: Any, script: str, context: Any = None, **arguments: Any) -> Any:
    task = tasks.PipelineCommand(task_id="try", command=[sys.executable, "-c", script], **arguments)
    return task.execute(context or {})


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


def test_only_the_digest_becomes_the_result(tasks: Any) -> None:
    digest = "0123456789abcdef" * 4
    assert execute(tasks, f"print('publish: {digest} is now the candidate')", result=tasks.DIGEST) == digest
    assert execute(tasks, "print('a whole table')") is None


def test_a_command_sees_none_of_airflows_settings(tasks: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__API_AUTH__JWT_SECRET", "s" * 64)
    monkeypatch.setenv("BULKHEAD_STORE", "/somewhere")
    seen = "import os; print('seen', *sorted(n for n in os.environ if 'AIRFLOW' in n), os.environ['BULKHEAD_STORE'])"
    assert execute(tasks, seen, result=".*") == "seen /somewhere"


@pytest.mark.parametrize(("key", "expected"), [("2013-01", []), (None, ["2013-02"])])
def test_the_event_names_the_month_when_the_run_has_no_key(tasks: Any, key: str | None, expected: list[str]) -> None:
    record = {"run": "r", "through": "2013-02"}
    partitions: list[str] = []
    event = SimpleNamespace(extra=None, add_partitions=partitions.append)
    context = {"outlet_events": {tasks.VALIDATED: event}, "dag_run": SimpleNamespace(partition_key=key)}
    execute(tasks, f"print({json.dumps(record)!r})", context, outlets=[tasks.VALIDATED])
    assert event.extra == record
    assert partitions == expected
