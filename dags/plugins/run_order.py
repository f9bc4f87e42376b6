"""The order of runs: the newest month first, and backfills in a pool of their own, so that they never delay it.

Airflow 3.3 starts tasks by their weight, which is the same for every run of a DAG; a backfill of ten runs, its default, takes all slots.
`task_instance_mutation_hook` is Airflow's cluster policy: `airflow_local_settings.py` beside this file hands it over. A deployment with
such a file of its own imports it there. Nothing of Airflow is imported, since Airflow reads that file while it is itself imported.
"""

from __future__ import annotations

from typing import Any

BACKFILLS = "backfills"  # the pool; the scheduler makes it (backfill_pool.py), and a person may resize it
_STEP = 1000  # more than the weights of all tasks of a DAG together


def task_instance_mutation_hook(task_instance: Any, dag_run: Any = None) -> None:
    """Put a backfill's task into the pool of backfills, and weigh any other by its month; may be repeated."""
    if dag_run is None:
        return
    within_run = task_instance.priority_weight % _STEP
    if dag_run.run_type == "backfill":
        task_instance.pool = BACKFILLS
        task_instance.priority_weight = within_run
    else:
        task_instance.priority_weight = within_run + _STEP * _number(dag_run)


def _number(dag_run: Any) -> int:
    """Return the number of the run's month, counted from the year 0; a run without a month is a person's, and as urgent as any."""
    key = dag_run.partition_key or (dag_run.conf or {}).get("through") or ""
    year, _, month = str(key).partition("-")
    return 12 * int(year) + int(month) if year.isdecimal() and month.isdecimal() else 12 * 9999
