"""A table, scored by the live model as its endpoint would. By hand; on a schedule: docs/how-to/batch-scoring.md."""

from airflow.sdk import DAG, Param
from pipeline_tasks import COMMON, about, predict_task

with DAG(
    dag_id="batch_predict",
    **about(__doc__, "serving"),
    schedule=None,
    params={
        "table": Param(
            type="string",
            minLength=1,
            title="Table",
            description="A file, a directory of parts, a glob, a URL, or a .yaml source",
        ),
        "out": Param(type="string", minLength=1, title="Answers", description="The file to write: .parquet or .csv"),
        "bundle": Param("live", type="string", minLength=1, title="Bundle", description="A channel, or a digest"),
        "keep": Param(
            "", type="string", title="Keep", description="Columns to copy, separated by commas, such as an id; *: all"
        ),
        "overwrite": Param(False, type="boolean", title="Overwrite", description="Replace the answers if they exist"),
    },
    **COMMON,
):
    predict_task(
        "{{ params.table }}",
        "{{ params.out }}",
        bundle="{{ params.bundle }}",
        keep="{{ params.keep }}",
        overwrite="{{ '--overwrite' if params.overwrite else '--no-overwrite' }}",
    )
