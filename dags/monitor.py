"""The live model on the newest validated month, now that its labels have arrived. Fails when it is below its evaluation.

A month that is announced while this DAG is paused is lost: docs/how-to/airflow.md, "Catch up".
"""

from airflow.sdk import DAG, PartitionedAssetTimetable, chain
from pipeline_tasks import COMMON, FORM, VALIDATED, about, close_task, open_task, run_task, stage_task

with DAG(
    dag_id="monitor",
    **about(__doc__, "data", "serving"),
    schedule=PartitionedAssetTimetable(assets=VALIDATED),
    max_active_runs=2,
    params=FORM,
    **COMMON,
):
    opened, closed = open_task(), close_task()
    chain(opened, stage_task("validate"), run_task("monitor", "monitor"), closed.as_teardown(setups=opened.as_setup()))
