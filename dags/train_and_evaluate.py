"""A model, trained on all months so far and judged. Runs when a month was validated, and monthly, which can be backfilled.

It has the data's stages too, so that it stands alone; for a validated month they come from the cache. A month that is announced while this
DAG is paused is lost: docs/how-to/airflow.md, "Catch up".
"""

from datetime import timedelta

from airflow.sdk import DAG, chain
from partition_schedule import MonthlyPartitions
from pipeline_tasks import (
    AGAIN,
    AGAIN_PARAMETER,
    APPROVED,
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
    dag_id="train_and_evaluate",
    **about(__doc__, "model"),
    schedule=MonthlyPartitions(last=LAST_MONTH, asset=VALIDATED, delay=timedelta(days=1)),
    max_active_runs=1,  # month by month: the model of an older month must not replace that of a newer one
    params=FORM | {"again": AGAIN_PARAMETER},
    **COMMON,
):
    opened, closed = open_task(again=AGAIN), close_task()
    chain(opened, stage_task("evaluate"), record_task(APPROVED), closed.as_teardown(setups=opened.as_setup()))
