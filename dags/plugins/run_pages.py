"""Pages of the runs beside Airflow's own: reports, data docs and bundles, and whether runs make progress.

This file is loaded in every process of Airflow, so the pages themselves are imported by the API server's first request for one.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from airflow.plugins_manager import AirflowPlugin


async def _pages(scope: Any, receive: Any, send: Any) -> None:
    if (folder := str(Path(__file__).parents[1])) not in sys.path:  # only processes that run DAGs have it
        sys.path.append(folder)
    from operations.pages import app

    await app(scope, receive, send)


class RunPagesPlugin(AirflowPlugin):  # type: ignore[misc]  # airflow's types are not followed
    """The registration of the pages with Airflow."""

    name = "run_pages"
    fastapi_apps = [{"app": _pages, "url_prefix": "/bulkhead", "name": "run_pages"}]  # noqa: RUF012
