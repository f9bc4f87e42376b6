"""The tab "Stages and months" of a run: each stage and month of its tasks with state, duration and a link to its line of the log.

A task runs many stages and months in one process, and its XCom `outcome` tells of each, while the task runs too. The page reads that, and
the task's log, from Airflow's own REST API in the name of whoever looks at it: Airflow decides what they may see.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from airflow.configuration import conf
from airflow.plugins_manager import AirflowPlugin

_PREFIX = "/stages-and-months"
_PAGE = Path(__file__).with_suffix(".html")


@cache
def application() -> Any:
    """Return the FastAPI application of the page, which needs a login."""
    # Not at the top: the DAG processor and every task load the plugins too.
    from airflow.api_fastapi.core_api.security import get_user
    from fastapi import Depends, FastAPI
    from fastapi.responses import HTMLResponse

    app = FastAPI(openapi_url=None, dependencies=[Depends(get_user)])

    @app.get("/run", response_class=HTMLResponse)
    def page() -> HTMLResponse:
        headers = {"Content-Security-Policy": "default-src 'self' 'unsafe-inline'; frame-ancestors 'self'"}
        return HTMLResponse(_PAGE.read_text(encoding="utf-8"), headers=headers)

    return app


async def _application(
    scope: Any, receive: Callable[[], Awaitable[Any]], send: Callable[[Any], Awaitable[None]]
) -> None:
    await application()(scope, receive, send)


def _base_path() -> str:
    return urlsplit(str(conf.get("api", "base_url", fallback=""))).path.rstrip("/")


class StagesAndMonthsPlugin(AirflowPlugin):  # type: ignore[misc]  # airflow's types are not followed
    """The registration of the page with Airflow."""

    name = "stages_and_months"
    fastapi_apps = [{"app": _application, "url_prefix": _PREFIX, "name": "Stages and months"}]  # noqa: RUF012
    external_views = [  # noqa: RUF012
        {
            "name": "Stages and months",
            "href": f"{_base_path()}{_PREFIX}/run?dag={{DAG_ID}}&run={{RUN_ID}}",
            "destination": "dag_run",
            "url_route": "stages_and_months",
        }
    ]
