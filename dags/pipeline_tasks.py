"""The parts of the DAG files: tasks that call the pipeline's environment, and the compiled graph (graph.json).

Nothing of ours and nothing heavy is imported, since Airflow parses every DAG file repeatedly.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, Any, cast

from airflow.sdk import Asset, BaseOperator, Param
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException
from operations.links import BY_TASK
from operations.notifier import Alert
from operations.places import PROJECT, command_environment

HERE = Path(__file__).parent
PIPELINE_PYTHON = os.environ.get("BULKHEAD_PIPELINE_PYTHON", str(PROJECT / ".venv/pipeline/bin/python"))

VALIDATED = Asset("validated_month", uri="x-bulkhead://validated-month", group="pipeline")
APPROVED = Asset("approved_model", uri="x-bulkhead://approved-model", group="pipeline")

# sysexits.h: wrong usage, rejected data or model, wrong configuration. The same input would fail again; see contract/errors.py.
FINAL_EXIT_CODES = frozenset({64, 65, 78})


def _graph(path: Path) -> dict[str, Any]:
    """Return the compiled graph.

    Raises:
        AirflowException: it is missing or broken; the UI shows this as the import error of every DAG file.
    """
    try:
        graph: dict[str, Any] = json.loads(path.read_bytes())
        if not graph["stages"] or not graph["months"]["first"] or "last" not in graph["months"]:
            raise ValueError("no stages or months")
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise AirflowException(
            f"{path} is not a compiled graph ({error!r}), so no DAG can be read; write it anew in {PROJECT}: "
            f"{PIPELINE_PYTHON} -m pipelines.runs compile"
        ) from error
    return graph


GRAPH = _graph(HERE / "graph.json")
RUN = "{{ dag.dag_id }}.{{ run_id }}"
THROUGH = "{{ dag_run.partition_key or params.through or '' }}"
MONTH_PARAMETER = Param(
    None,
    type=["null", "string"],
    pattern=r"^\d{4}-(0[1-9]|1[0-2])$",
    title="Through month",
    description="The last month to work on, such as 2013-12. Default: the partition key, else the newest month in params.yaml.",
)
# The form of a run by hand, beside what a DAG adds.
FORM = {
    "through": MONTH_PARAMETER,
    "dry_run": Param(
        False,
        type="boolean",
        title="Dry run",
        description="Only say which stages would run: nothing is announced, published, deployed or recorded.",
    ),
    "force": Param(
        False,
        type="boolean",
        title="Force",
        description="Run the stages of this DAG although nothing changed; the same inputs give the same digests.",
    ),
}
FORCE = "{{ '--force' if params.force else '--no-force' }}"
DRY_RUN = "{{ '--dry-run' if params.dry_run else '--no-dry-run' }}"

AGAIN_PARAMETER = Param(
    None,
    type=["null", "array"],
    items={"type": "string", "pattern": r"^\d{4}-(0[1-9]|1[0-2])$"},
    title="Collect again",
    description="Months whose rows came late, such as 2013-03, one a line: they are collected again, and all that hangs on them runs.",
)
AGAIN = "{{ (params.again or []) | join(',') }}"

LAST_MONTH: str | None = GRAPH["months"]["last"]  # None: no end
CATCH_UP_FROM: str | None = GRAPH["months"].get("catch_up_from")  # None: months that were missed are a backfill's

# The default arguments of every DAG. A month is due when it is over; the first month of params.yaml is the first to be scheduled.
COMMON: dict[str, Any] = {
    "start_date": datetime.strptime(CATCH_UP_FROM or GRAPH["months"]["first"], "%Y-%m").replace(tzinfo=UTC)
    + timedelta(days=1),
    "catchup": CATCH_UP_FROM is not None,
    "on_failure_callback": Alert(),
    "default_args": {
        "owner": "bulkhead",
        "retries": 2,
        "retry_delay": timedelta(seconds=10),
        "retry_exponential_backoff": 2.0,
    },
}


_FOOTER = """

**Run it by hand** with *Trigger*: the form says what each field does. **What it did** is in the tab *Stages and months* and behind the
links of the tasks (*Report*, *Data docs*, *Bundle*, *Fleet*). **After a failure** the log of the red task says what is wrong and what
to do; then clear that task, or trigger a new run. More: `docs/how-to/airflow.md`.
"""
# What each task does, for people; shown beside its log.
_DOCS = {
    "open": "Makes the run's workspace: a clone of the project's last commit, with the months through the run's own.",
    "validate": "Collects the months that are missing and checks every month. A month that fails a check is refused (exit code 65).",
    "evaluate": "Features, training and the gates, after the data's stages. A rejected or held model fails the task (exit code 65).",
    "bundle": "Builds the bundle of the approved model, a bento named by its digest.",
    "record": "Keeps what the run produced, digest by digest, and announces it to the DAGs that wait for it.",
    "publish": "Boots the bundle in an environment of its own, asks for the golden answers, and makes it the store's `candidate`.",
    "approve": "Asks a person (tab *Required Actions*). Without an answer in time, or rejected: not deployed, the live model stays.",
    "deploy": "Lets the fleet deploy the candidate. When it fails, the fleet keeps the live model.",
    "monitor": "Scores the live model on the month. Fails when it is clearly worse than when it was approved.",
    "predict": "Scores the table with the bundle; rows that cannot be scored go aside, with reasons.",
    "close": "Removes the workspace; after a failure it is kept as evidence.",
}


def about(text: str, *tags: str) -> dict[str, Any]:
    """Return the arguments of a DAG that tell people about it, from its file's docstring."""
    return {"description": text.partition("\n")[0], "doc_md": text + _FOOTER, "tags": ["bulkhead", *tags]}


class PipelineCommand(BaseOperator):  # type: ignore[misc]  # airflow's types are not followed
    """Run a command in the project's root: no shell, none of Airflow's own settings in its environment.

    Each line of output is one of the task's log, except outcomes (`pipelines/runs/outcomes`): those become the task's XCom `outcome`,
    while the command runs and when it ends. An exit code of a final error fails the task without a retry, with the outcome's verdict in
    the message. If the task has an outlet, the facts of the outcome are the record of the run: the event carries it, for the partition of
    the run's last month.
    """

    template_fields = ("command",)

    def __init__(self, *, command: list[str], changes: bool = False, **arguments: Any) -> None:
        """Make the task.

        Args:
            changes: true if the command changes more than the run's own workspace, so that a dry run skips it.
        """
        super().__init__(doc_md=_DOCS.get(arguments["task_id"]), **arguments)
        self.command = command
        self.changes = changes
        self.operator_extra_links = BY_TASK.get(arguments["task_id"], ())
        self.process: subprocess.Popen[str] | None = None  # while the command runs

    def execute(self, context: Any) -> None:
        """Run the command and push its outcome."""
        if self.changes and context["params"].get("dry_run"):
            raise AirflowSkipException(f"a dry run, so {self.task_id} is left out")
        outcome: dict[str, Any] = {}
        for line in self._lines():
            if said := _outcome(line):
                outcome = said
                context["ti"].xcom_push(key="outcome", value=outcome)
            else:
                self.log.info("%s", line)
        code = cast("subprocess.Popen[str]", self.process).wait()
        if code:
            what = f"{_end_of(outcome)}exit code {code}"
            if code in FINAL_EXIT_CODES:
                raise AirflowFailException(f"{what}: a retry cannot help; the reason is in the lines above")
            raise AirflowException(what)
        for outlet in self.outlets:
            _announce(context, outlet, outcome["facts"])

    def on_kill(self) -> None:
        """End the command."""
        if self.process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGTERM)

    def _lines(self) -> Iterator[str]:
        """Yield the lines that the command prints; the first one is the command."""
        yield f"$ {shlex.join(self.command)}"
        # Not closed by a `with` block, which would wait: at a timeout `on_kill` ends the command only after this has been left.
        try:
            self.process = subprocess.Popen(
                self.command,
                cwd=PROJECT,
                env=command_environment(),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="backslashreplace",
                start_new_session=True,
            )
        except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
            raise AirflowFailException(
                f"cannot start {self.command[0]} in {PROJECT}: {error.strerror} ({error.filename}); run `make up` there, or correct "
                "BULKHEAD_PROJECT and BULKHEAD_PIPELINE_PYTHON in the environment of Airflow's workers"
            ) from error
        output = cast("IO[str]", self.process.stdout)
        for line in output:
            yield line.rstrip()
        output.close()


def open_task(*, like: str = "", again: str = "") -> PipelineCommand:
    """Return the task that makes the run's workspace; templates: the recorded run to begin with, and the months to collect again."""
    options = [*(["--like", like] if like else []), *(["--again", again] if again else [])]
    return _runs("open", "--through", THROUGH, *options, task_id="open")


def stage_task(stage: str) -> PipelineCommand:
    """Return the task of a stage of dvc.yaml and all stages upstream, as one `dvc repro`; what is up to date comes from the cache.

    A process of DVC takes longer to start than some stages run, so no stage has a task of its own: the task's outcome and the tab
    "Stages and months" of a run tell of each.
    """
    return _runs("repro", stage, FORCE, DRY_RUN, task_id=stage)


def run_task(task_id: str, *arguments: str, **options: Any) -> PipelineCommand:
    """Return the task of a pipeline command in the run's workspace, which a dry run skips."""
    line = ("exec", "--", "python", "-m", "pipelines", *arguments)
    return _runs(*line, task_id=task_id, changes=True, **options)


def record_task(announce: Asset) -> PipelineCommand:
    """Return the task that records the run's results and announces them as an event of the asset."""
    return _runs("record", task_id="record", outlets=[announce], changes=True)


def predict_task(
    table: str, out: str, *, bundle: str = "live", keep: str = "", overwrite: str = "--overwrite"
) -> PipelineCommand:
    """Return the task that scores a table, in the project itself; every argument may be a template.

    Args:
        overwrite: `--overwrite` or `--no-overwrite`. What is there is replaced in one step, so a run may be done again.
    """
    command = [PIPELINE_PYTHON, "-m", "pipelines", "predict", "--json", f"--bundle={bundle}", f"--keep={keep}"]
    return PipelineCommand(task_id="predict", command=[*command, overwrite, "--", table, out])


def approval_tasks() -> list[Any]:
    """Return the task that asks a person before deployment; none unless it is switched on.

    Raises:
        AirflowException: the switch is not a number; the UI shows this as the import error of the DAG file.
    """
    said = os.environ.get("BULKHEAD_APPROVAL_HOURS", "").strip() or "0"
    try:
        hours = float(said)
    except ValueError:
        raise AirflowException(f"BULKHEAD_APPROVAL_HOURS: {said!r} is not a number of hours") from None
    if hours <= 0:
        return []
    from operations.approval import Approval  # only then: it takes a tenth of a second to import

    line = [PIPELINE_PYTHON, "-m", "pipelines.runs", "describe", "--run", RUN]
    return [Approval(task_id="approve", command=line, hours=hours, doc_md=_DOCS["approve"])]


def close_task() -> PipelineCommand:
    """Return the task that removes the workspace; after a failure it is kept as evidence."""
    return _runs("close", DRY_RUN, task_id="close")


def _runs(command: str, *arguments: str, task_id: str, **options: Any) -> PipelineCommand:
    line = [PIPELINE_PYTHON, "-m", "pipelines.runs", command, "--run", RUN, *arguments]
    return PipelineCommand(task_id=task_id, command=line, **options)


def _outcome(line: str) -> dict[str, Any] | None:
    """Return the outcome that a line of output is; None for any other line."""
    if not line.startswith('{"stage"'):
        return None
    with suppress(ValueError):
        outcome: dict[str, Any] = json.loads(line)
        return outcome
    return None


def _end_of(outcome: dict[str, Any]) -> str:
    """Return what an outcome says of a failure: the stage, or the verdict and its reason; nothing where it says neither."""
    failed = [stage["stage"] for stage in outcome.get("stages", []) if stage["state"] == "failed"]
    facts = outcome.get("facts", {})
    said = [f"stage {failed[-1]} failed"] if failed else []
    said += [str(facts[name]) for name in ("verdict", "why") if facts.get(name)]
    return "".join(f"{part}: " for part in said)


def _announce(context: Any, asset: Asset, record: dict[str, str]) -> None:
    if asset == VALIDATED and context["dag_run"].run_type == "backfill":
        # One run trains at a time, in the order of the announcements: the newest month would wait for all of them.
        raise AirflowSkipException(
            "a backfill announces no month; backfill train_and_evaluate for the models of its months"
        )
    event = context["outlet_events"][asset]
    event.extra = record
    if not context["dag_run"].partition_key:  # a run by hand without a key is for its last month
        event.add_partitions(record["through"])
