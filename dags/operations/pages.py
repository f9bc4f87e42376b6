"""The pages below `/bulkhead` of Airflow's API server.

    /bulkhead/runs/<dag>/<run>/…       what a run left for people, to users who may read runs of that DAG
    /bulkhead/progress                 200 or 503, to anybody
    /bulkhead/progress/details         what waits, to users who may read all DAGs

A run's files lie in its record, or while it lasts, and after it failed, in its workspace. Their folders are those of
`pipelines/runs/workspaces/workspace.py`, which a test compares.
"""

from __future__ import annotations

import hashlib
import html
import re
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import requires_access_dag
from airflow.utils.session import create_session
from fastapi import Depends, FastAPI, Query, Response
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse

from operations import progress
from operations.places import PROJECT, VAR

# What people look at, by its path in the workspace; nothing else of a workspace is served.
PAGES = {
    "reports/evaluation.html": "Report: scores, gates, the verdict and its bundle",
    "reports/verdict.html": "Report as `evaluate` wrote it, before the bundle",
    "reports/data_docs/index.html": "Data docs: every check of every month",
    "reports/validation.json": "Checks of the data",
    "reports/screening.json": "Leaks, repeated rows, entities on both sides of the split",
    "reports/staleness.json": "Models of earlier months on later ones",
    "metrics.json": "Scores",
    "build/bundle/manifest.json": "Bundle: its manifest",
    "build/bundle/sbom.cdx.json": "Bundle: its software, as CycloneDX",
    "build/bundle/provenance.intoto.json": "Bundle: how it was built, as in-toto",
}
_SERVED = tuple(
    PurePosixPath(name) for name in ("reports", *(page for page in PAGES if not page.startswith("reports")))
)
# The pages are made from data, and are shown where the user is logged in: no script runs, and nothing is loaded from elsewhere.
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; font-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "private, no-store",
}
_DATA_DOCS, _CHECKS = "reports/data_docs", "reports/validation.json"
_UNSAFE, _LONGEST = re.compile(r"[^A-Za-z0-9._-]+"), 120

app = FastAPI(title="Pages of runs", docs_url=None, redoc_url=None, openapi_url=None)


@app.get("/runs/{dag_id}/{run_id}/{path:path}", dependencies=[Depends(requires_access_dag("GET", DagAccessEntity.RUN))])
def page(dag_id: str, run_id: str, path: str) -> Response:
    """Return a file of a run, or the list of its files."""
    run = f"{dag_id}.{run_id}"
    if not path:
        return _index(run)
    if (found := find(run, path)) is not None:
        return FileResponse(found, headers=_HEADERS)
    return _html(404, run, f"<p>This run has no {html.escape(path)}.</p><p><a href='../'>What it has</a></p>")


@app.get("/progress")
def state(limit_s: Annotated[float, Query(gt=0)] = progress.LIMIT_S) -> Response:
    """Tell whether runs make progress: 200, or 503 when something has waited for longer than the limit while nothing moved."""
    with create_session() as session:
        waiting = progress.waiting(session, limit_s)
    return JSONResponse({"state": "stalled" if waiting else "ok", "waiting": len(waiting)}, 503 if waiting else 200)


@app.get("/progress/details", dependencies=[Depends(requires_access_dag("GET", DagAccessEntity.RUN))])
def details(limit_s: Annotated[float, Query(gt=0)] = progress.LIMIT_S) -> list[dict[str, Any]]:
    """Return what waits, the longest first."""
    with create_session() as session:
        return progress.waiting(session, limit_s)


def find(run: str, path: str) -> Path | None:
    """Return the place of a file that a run left for people, None if there is none."""
    wanted = PurePosixPath(path)
    if ".." in wanted.parts or not any(wanted.is_relative_to(served) for served in _SERVED):
        return None
    places = [VAR / "runs" / "reports" / safe_name(run), VAR / "runs" / safe_name(run)]
    if wanted.is_relative_to(_DATA_DOCS):
        places += _with_same_checks(places)
    return next((place / wanted for place in places if (place / wanted).is_file()), None)


def _with_same_checks(places: list[Path]) -> list[Path]:
    """Return the places of the data docs of the same checks: where `validate` came from the cache, another run has made them."""
    own = next((place / _CHECKS for place in places if (place / _CHECKS).is_file()), None)
    if own is None:
        return []
    checks = own.read_bytes()
    others = [PROJECT, *(VAR / "runs" / "reports").glob("*")]
    return [other for other in others if (other / _CHECKS).is_file() and (other / _CHECKS).read_bytes() == checks]


def safe_name(run: str) -> str:
    """Return a run's name as a file name, as `pipelines.runs.workspaces.workspace.safe_name` does."""
    name = _UNSAFE.sub("-", run).strip("-.")[:_LONGEST]
    return name if name == run else f"{name}-{hashlib.sha256(run.encode()).hexdigest()[:8]}"


def _index(run: str) -> Response:
    items = [f"<li><a href='{path}'>{html.escape(title)}</a></li>" for path, title in PAGES.items() if find(run, path)]
    none = "<p>The run has left nothing yet, or its results lie on another machine.</p>"
    return _html(200, run, f"<ul>{''.join(items)}</ul>" if items else none)


def _html(status: int, run: str, body: str) -> Response:
    title = html.escape(run)
    style = "<style>:root{color-scheme:light dark}body{font:15px/1.6 system-ui,sans-serif;margin:2rem}</style>"
    content = (
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{title}</title>{style}<h1>{title}</h1>{body}"
    )
    return HTMLResponse(content, status, headers=_HEADERS)
