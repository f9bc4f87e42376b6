"""A month's data: collected once, then checked. Scheduled by month; the partition key names it; a backfill takes a year."""

from airflow.sdk import DAG, chain
from partition_schedule import MonthlyPartitions
from pipeline_tasks import (
    COMMON,
    LAST_MONTH,
    MONTH_PARAMETER,
    VALIDATED,
    close_task,
    leaves,
    open_task,
    record_task,
    roots,
    stage_tasks,
)

with DAG(
    dag_id="collect_and_validate",
    description=__doc__,
    schedule=MonthlyPartitions(last=LAST_MONTH),
    max_active_runs=2,
    params={"through": MONTH_PARAMETER},
    **COMMON,
):
    opened, closed, stages = open_task(), close_task(), stage_tasks("collect_and_validate")
    chain(opened, roots(stages))
    chain(leaves(stages), record_task(VALIDATED), closed.as_teardown(setups=opened.as_setup()))
