"""Whether runs make progress, by Airflow's database. Airflow's health check only tells whether the scheduler's heart beats.

Something waits when a month is due and has no run, when a run or a task that is not running stays as it is, or when a running task gives no
sign of life. It is missing progress when that lasts longer than the limit, and, since a task may well wait for the end of another one,
when nothing else moved either. What waits for a person does not count, nor do paused DAGs.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.jobs.job import Job
from airflow.models.asset import AssetPartitionDagRun
from airflow.models.dag import DagModel
from airflow.models.dagrun import DagRun
from airflow.models.taskinstance import TaskInstance
from sqlalchemy import func, select

LIMIT_S = 900.0
_HEARTBEAT_S = 60.0  # without a heartbeat, whose intervals are at most ten seconds
_OPEN = ("queued", "running")
_WAITS_FOR_OTHERS = {"awaiting_input", "deferred"}


def waiting(session: Any, limit_s: float) -> list[dict[str, Any]]:
    """Return what has waited for longer than the limit although nothing moved: months and tasks first, then the longest first."""
    before, silent = (datetime.now(UTC) - timedelta(seconds=limit) for limit in (limit_s, max(limit_s, _HEARTBEAT_S)))
    runs = _runs(session, silent)
    if runs and _last_move(session) > before:
        runs = [item for item in runs if item["what"] == "gives no sign of life"]
    runs += [item for item in _components(session) if item["since"] < silent]
    items = [*_due(session), *_announced(session), *runs]
    found = [item for item in items if item["since"] < before]
    found.sort(key=lambda item: (item["dag"] is None, item["since"]))
    return [item | {"since": item["since"].isoformat()} for item in found]


def _components(session: Any) -> Iterable[dict[str, Any]]:
    """Yield the scheduler and the DAG processor, since their last heartbeats."""
    kinds = {"SchedulerJob": "the scheduler", "DagProcessorJob": "the DAG processor, which sends alerts,"}
    asked = select(Job.job_type, func.max(Job.latest_heartbeat)).where(Job.job_type.in_(kinds)).group_by(Job.job_type)
    for kind, since in session.execute(asked):
        yield _item(f"{kinds[kind]} gives no sign of life", since, None, None)


def _due(session: Any) -> Iterable[dict[str, Any]]:
    """Yield the scheduled months that are due and have no run."""
    asked = select(DagModel.dag_id, DagModel.next_dagrun_partition_key, DagModel.next_dagrun_create_after).where(
        DagModel.next_dagrun_create_after <= datetime.now(UTC), DagModel.exceeds_max_non_backfill.is_(False), *_active()
    )
    for dag, month, since in session.execute(asked):
        yield _item("is due and has no run", since, dag, month)


def _announced(session: Any) -> Iterable[dict[str, Any]]:
    """Yield the announced months that have no run yet."""
    asked = (
        select(AssetPartitionDagRun)
        .join(DagModel, DagModel.dag_id == AssetPartitionDagRun.target_dag_id)
        .where(AssetPartitionDagRun.created_dag_run_id.is_(None), *_active())
    )
    for event in session.scalars(asked):
        yield _item("was announced and has no run", event.created_at, event.target_dag_id, event.partition_key)


def _runs(session: Any, silent: datetime) -> list[dict[str, Any]]:
    """Return the open runs of which nothing runs, and the running tasks that gave no sign of life since then."""
    asked = select(DagRun).join(DagModel, DagModel.dag_id == DagRun.dag_id).where(DagRun.state.in_(_OPEN), *_active())
    return [item for run in session.scalars(asked) if (item := _of_run(session, run, silent))]


def _of_run(session: Any, run: Any, silent: datetime) -> dict[str, Any] | None:
    tasks = list(session.scalars(select(TaskInstance).filter_by(dag_id=run.dag_id, run_id=run.run_id)))
    if any(task.state in _WAITS_FOR_OTHERS for task in tasks):
        return None
    running = [task for task in tasks if task.state == "running"]
    if running:
        frozen = [task for task in running if (task.last_heartbeat_at or task.start_date) < silent]
        return _task("gives no sign of life", frozen[0].last_heartbeat_at, run, frozen[0]) if frozen else None
    since = max(moment for moment in (run.queued_at, run.start_date, *_moves(tasks)) if moment)
    ahead = [task for task in tasks if task.state in ("queued", "scheduled", "up_for_retry", None)]
    return _task("waits", since, run, min(ahead, key=_nearness, default=None))


def _nearness(task: Any) -> int:
    return ("queued", "scheduled", "up_for_retry", None).index(task.state)


def _moves(tasks: Iterable[Any]) -> Iterable[datetime | None]:
    for task in tasks:
        yield from (task.scheduled_dttm, task.queued_dttm, task.start_date, task.end_date)


def _last_move(session: Any) -> datetime:
    """Return when a task last started, ended or gave a sign of life."""
    columns = (TaskInstance.start_date, TaskInstance.end_date, TaskInstance.last_heartbeat_at)
    moments = session.execute(select(*map(func.max, columns))).one()
    latest: datetime = max((moment for moment in moments if moment), default=datetime.fromtimestamp(0, UTC))
    return latest


def _active() -> tuple[Any, ...]:
    return DagModel.is_paused.is_(False), DagModel.is_stale.is_(False)


def _task(what: str, since: datetime, run: Any, task: Any) -> dict[str, Any]:
    month = run.partition_key or (run.conf or {}).get("through")
    return _item(what, since, run.dag_id, month, run.run_id, task.task_id if task is not None else None)


def _item(
    what: str, since: datetime, dag: str | None, month: str | None, run: str | None = None, task: str | None = None
) -> dict[str, Any]:
    return {"what": what, "since": since, "dag": dag, "month": month, "run": run, "task": task}
