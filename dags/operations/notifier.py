"""The notifier of failed runs. It tells nobody until `BULKHEAD_ALERTS` names a file of receivers: docs/how-to/airflow.md, "Alerts".

It is the callback of the DAGs and not of their tasks. A task's callback is called in the task's own process, or for it by the DAG processor
when the whole worker is gone; where only the process was killed, Airflow 3.3 calls none. A DAG's is called however its run has failed.
"""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseNotifier

from operations.messages import Message, SettingsError, receivers

_TODO = (
    "open the task's log, whose lines above `Task failed` say what is wrong; if the cause is gone, clear the task, "
    "else correct what they name and trigger the month again"
)


class Alert(BaseNotifier):  # type: ignore[misc]  # airflow's types are not followed
    """Tell the receivers that a run failed; a dead receiver is a line in the log, and fails nothing."""

    def notify(self, context: Any) -> None:
        """Send the message of a failed run."""
        try:
            failed = receivers().send(message(context))
        except SettingsError as error:
            failed = [str(error)]
        for line in failed:
            self.log.error("no alert was sent: %s", line)


def message(context: Any) -> Message:
    """Return the message of a failed run, by the context of its callback; its task is the one that failed last."""
    dag, task, run = context["dag"].dag_id, context.get("task_instance"), context.get("dag_run")
    month = getattr(run, "partition_key", None) or (context.get("params") or {}).get("through") or ""
    name = task.task_id if task is not None else ""
    return Message(
        title=f"{dag} {month or context['run_id']}: {name or 'run'} failed",
        todo=_TODO,
        dag=dag,
        month=month,
        task=name,
        run=context["run_id"],
        link=getattr(task, "log_url", None) or "",
    )
