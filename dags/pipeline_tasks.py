"""The parts of the DAG files: tasks that call the pipeline's environment, and the compiled graph (graph.json).

Nothing of ours and nothing heavy is imported, since Airflow parses every DAG file repeatedly.
"""

from __future__ import annotations

import json
import os
import re
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from airflow.providers.standard.hooks.subprocess import SubprocessHook
from airflow.sdk import Asset, BaseOperator, Param
from airflow.sdk.exceptions import AirflowException, AirflowFailException

HERE = Path(__file__).parent
PROJECT = Path(os.environ.get("BULKHEAD_PROJECT", HERE.parent))
PIPELINE_PYTHON = os.environ.get("BULKHEAD_PIPELINE_PYTHON", str(PROJECT / ".venv/pipeline/bin/python"))
GRAPH: dict[str, Any] = json.loads((HERE / "graph.json").read_bytes())

VALIDATED = Asset("validated_month", uri="x-bulkhead://validated-month", group="pipeline")
APPROVED = Asset("approved_model", uri="x-bulkhead://approved-model", group="pipeline")

# sysexits.h: wrong usage, rejected data or model, wrong configuration. The same input would fail again; see contract/errors.py.
FINAL_EXIT_CODES = frozenset({64, 65, 78})
DIGEST = r"\b[0-9a-f]{64}\b"

RUN = "{{ dag.dag_id }}.{{ run_id }}"
THROUGH = "{{ dag_run.partition_key or params.through or '' }}"
MONTH_PARAMETER = Param(
    None,
    type=["null", "string"],
    pattern=r"^\d{4}-(0[1-9]|1[0-2])$",
    title="Through month",
    description="The last month to work on, such as 2013-12. Default: the partition key, else the newest month in params.yaml.",
)


LAST_MONTH: str | None = GRAPH["months"]["last"]  # None: no end

# The default arguments of every DAG. A month is due when it is over; the first month of params.yaml is the first to be scheduled.
COMMON: dict[str, Any] = {
    "start_date": datetime.strptime(GRAPH["months"]["first"], "%Y-%m").replace(tzinfo=UTC) + timedelta(days=1),
    "catchup": False,
    "tags": ["bulkhead"],
    "default_args": {"retries": 2, "retry_delay": timedelta(seconds=10), "retry_exponential_backoff": 2.0},
}


class PipelineCommand(BaseOperator):  # type: ignore[misc]  # airflow's types are not followed
    """Run a command in the project's root: no shell, none of Airflow's own settings in its environment.

    An exit code of a final error fails the task without a retry. The task's result is the part of the last line of
    output that matches `result`; None without one. If the task has an outlet, that line is a record of the run, as JSON: the
    event carries it, for the partition of the run's last month.
    """

    template_fields = ("command",)

    def __init__(self, *, command: list[str], result: str | None = None, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.command = command
        self.result = result

    @cached_property
    def hook(self) -> SubprocessHook:
        """The hook that runs the command."""
        return SubprocessHook()

    def execute(self, context: Any) -> str | None:
        """Run the command; return the part of its last line of output that matches `result`."""
        done = self.hook.run_command(self.command, env=_environment(), cwd=str(PROJECT))
        if done.exit_code in FINAL_EXIT_CODES:
            raise AirflowFailException(
                f"exit code {done.exit_code}: a retry cannot help; the reason is in the lines above"
            )
        if done.exit_code:
            raise AirflowException(f"exit code {done.exit_code}")
        for outlet in self.outlets:
            _announce(context, outlet, json.loads(done.output))
        found = re.search(self.result, done.output) if self.result else None
        return found[0] if found else None

    def on_kill(self) -> None:
        """End the command."""
        self.hook.send_sigterm()


def open_task(*, like: str = "") -> PipelineCommand:
    """Return the task that makes the run's workspace; `like` is a template of the recorded run to begin with."""
    return _runs("open", "--through", THROUGH, *(["--like", like] if like else []), task_id="open")


def stage_task(stage: str) -> PipelineCommand:
    """Return the task of one stage of dvc.yaml; results that are up to date come from the cache."""
    return _runs("repro", stage, task_id=stage)


def run_task(task_id: str, *arguments: str, **options: Any) -> PipelineCommand:
    """Return the task of a pipeline command in the run's workspace."""
    return _runs("exec", "--", "python", "-m", "pipelines", *arguments, task_id=task_id, **options)


def record_task(announce: Asset) -> PipelineCommand:
    """Return the task that records the run's results and announces them as an event of the asset."""
    return _runs("record", task_id="record", outlets=[announce])


def predict_task(
    table: str, out: str, *, bundle: str = "live", keep: str = "", overwrite: str = "--overwrite"
) -> PipelineCommand:
    """Return the task that scores a table, in the project itself; every argument may be a template.

    Args:
        overwrite: `--overwrite` or `--no-overwrite`. What is there is replaced in one step, so a run may be done again.
    """
    command = [PIPELINE_PYTHON, "-m", "pipelines", "predict", "--json", f"--bundle={bundle}", f"--keep={keep}"]
    return PipelineCommand(task_id="predict", command=[*command, overwrite, "--", table, out])


def close_task() -> PipelineCommand:
    """Return the task that removes the workspace; after a failure it is kept as evidence."""
    return _runs("close", task_id="close")


def stage_tasks(dag_id: str, *, with_upstream: bool = False) -> dict[str, PipelineCommand]:
    """Return the tasks of a DAG's stages, wired as in dvc.yaml; `with_upstream` adds the stages that they need of other DAGs."""
    stages = GRAPH["stages"]
    wanted = {name for name in stages if stages[name]["dag"] == dag_id}
    if with_upstream:
        wanted = set().union(*(_needed(name) for name in wanted))
    tasks = {name: stage_task(name) for name in sorted(wanted)}
    for name, task in tasks.items():
        task.set_upstream([tasks[upstream] for upstream in stages[name]["upstream"] if upstream in tasks])
    return tasks


def roots(tasks: dict[str, PipelineCommand]) -> list[PipelineCommand]:
    """Return the tasks without an upstream task."""
    return [task for task in tasks.values() if not task.upstream_list]


def leaves(tasks: dict[str, PipelineCommand]) -> list[PipelineCommand]:
    """Return the tasks without a downstream task."""
    return [task for task in tasks.values() if not task.downstream_list]


def _needed(stage: str) -> set[str]:
    return {stage}.union(*(_needed(upstream) for upstream in GRAPH["stages"][stage]["upstream"]))


def _runs(command: str, *arguments: str, task_id: str, **options: Any) -> PipelineCommand:
    line = [PIPELINE_PYTHON, "-m", "pipelines.runs", command, "--run", RUN, *arguments]
    return PipelineCommand(task_id=task_id, command=line, **options)


def _environment() -> dict[str, str]:
    """Return this environment without Airflow's settings: a stage must not see the database's address, nor the secret of tokens."""
    return {name: value for name, value in os.environ.items() if "AIRFLOW" not in name}


def _announce(context: Any, asset: Asset, record: dict[str, str]) -> None:
    event = context["outlet_events"][asset]
    event.extra = record
    if not context["dag_run"].partition_key:  # a run by hand without a key is for its last month
        event.add_partitions(record["through"])
