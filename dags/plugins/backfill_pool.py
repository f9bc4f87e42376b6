"""The pool of backfills, which every scheduler makes when it starts: without it their tasks would wait forever."""

from __future__ import annotations

import sys
from typing import Any

from airflow.listeners import hookimpl
from airflow.plugins_manager import AirflowPlugin
from run_order import BACKFILLS

SLOTS = 2  # of the 4 of bin/airflow-local


@hookimpl  # type: ignore[untyped-decorator]  # airflow's types are not followed
def on_starting(component: Any) -> None:
    """Make the pool, unless it exists: a person may have resized it."""
    from airflow.jobs.job import Job

    if not isinstance(component, Job):  # a task, which has no database
        return
    from airflow.models.pool import Pool
    from airflow.utils.session import create_session
    from sqlalchemy.exc import IntegrityError

    try:
        with create_session() as session:
            if Pool.get_pool(BACKFILLS, session=session) is None:
                session.add(Pool(pool=BACKFILLS, slots=SLOTS, description="tasks of backfills", include_deferred=False))
    except IntegrityError:
        pass  # another component was faster


class BackfillPoolPlugin(AirflowPlugin):  # type: ignore[misc]
    """The registration of the listener with Airflow."""

    name = "backfill_pool"
    listeners = [sys.modules[__name__]]  # noqa: RUF012
