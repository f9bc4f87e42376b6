"""A month's data: collected once, then checked. Scheduled by month; the partition key names it; a backfill takes a year."""

from airflow.sdk import DAG, chain
from partition_schedule import MonthlyPartitions
from pipeline_tasks import (
    AGAIN,
    AGAIN_PARAMETER,
    COMMON,
    FORM,
    LAST_MONTH,
    VALIDATED,
    about,
    close_task,
    open_task,
    record_task,
    stage_task,
)

with DAG(
    dag_id="collect_and_validate",
    **about(__doc__, "data"),
    schedule=MonthlyPartitions(last=LAST_MONTH),
    max_active_runs=2,
    params=FORM | {"again": AGAIN_PARAMETER},
    **COMMON,
):
    opened, closed = open_task(again=AGAIN), close_task()
    chain(opened, stage_task("validate"), record_task(VALIDATED), closed.as_teardown(setups=opened.as_setup()))
