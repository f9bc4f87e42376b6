"""An approved model becomes a bundle, goes into the store as candidate, and is deployed to the fleet. One at a time.

An approval that comes while this DAG is paused is lost: docs/how-to/airflow.md, "Catch up".
"""

from airflow.sdk import DAG, Param, PartitionedAssetTimetable, chain
from operations.places import PROJECT
from pipeline_tasks import (
    APPROVED,
    COMMON,
    FORM,
    PipelineCommand,
    about,
    approval_tasks,
    close_task,
    open_task,
    run_task,
    stage_task,
)

# The approved run, with its commit and results, so that exactly what was judged is bundled.
APPROVED_RUN = (
    "{% for events in triggering_asset_events.values() %}{{ events[-1].extra['run'] }}"
    "{% else %}{{ params.run or '' }}{% endfor %}"
)

with DAG(
    dag_id="bundle_and_deploy",
    **about(__doc__, "serving"),
    schedule=PartitionedAssetTimetable(assets=APPROVED),
    max_active_runs=1,  # the fleet changes its live bundle once at a time
    params={
        **FORM,
        "run": Param(
            None, type=["null", "string"], title="Run", description="A recorded run to bundle; default: the last commit"
        ),
        "canary": Param(
            "auto",
            type="string",
            enum=["auto", "always", "never"],
            title="Canary",
            description="A judge tries the bundle on a growing share of the requests, and rolls it back if it does harm; "
            "auto: where something is live and enough requests come",
        ),
        "breaking": Param(
            False,
            type="boolean",
            title="Breaking",
            description="Deploy even if callers of the live model break; the log of a rejected deploy lists the breaks",
        ),
    },
    **COMMON,
):
    opened, closed = open_task(like=APPROVED_RUN), close_task()
    published = run_task("publish", "publish")
    digest = "{{ ti.xcom_pull(task_ids='publish', key='outcome')['facts']['digest'] }}"
    breaking = "{{ '--breaking' if params.breaking else '--no-breaking' }}"
    canary = "--canary={{ {'auto': 'if-traffic', 'always': 'auto', 'never': 'none'}[params.canary] }}"
    # Since the start of the run: a task that is tried again joins the trial that it began, or takes its verdict. Clearing begins a new one.
    since = "--since={{ dag_run.start_date.isoformat() }}"
    deployed = PipelineCommand(
        task_id="deploy",
        command=[str(PROJECT / "bin" / "fleet"), "deploy", digest, breaking, "--wait", canary, since, "--json"],
        queue="fleet",  # with Celery, of workers beside the fleet
    )
    chain(
        opened,
        stage_task("bundle"),
        published,
        *approval_tasks(),
        deployed,
        closed.as_teardown(setups=opened.as_setup()),
    )
