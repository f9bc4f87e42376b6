"""A month's data: collected once, then checked. Scheduled by month; the partition key names it; a backfill takes a year."""

from airflow.sdk import DAG, chain
from partition_schedule import MonthlyPartitions
from pipeline_tasks import (
    AGAIN,
    AGAIN_PARAMETER,
    COMMON,
    LAST_MONTH,
    MONTH_PARAMETER,
    VALIDATED,
    close_task,
    open_task,
    record_task,
    stage_task,
)

with DAG(
    dag_id="collect_and_validate",
    description=__doc__,
    schedule=MonthlyPartitions(last=LAST_MONTH),
    max_active_runs=2,
    params={"through": MONTH_PARAMETER, "again": AGAIN_PARAMETER},
    **COMMON,
):
    opened, closed = open_task(again=AGAIN), close_task()
    chain(opened, stage_task("validate"), record_task(VALIDATED), closed.as_teardown(setups=opened.as_setup()))
