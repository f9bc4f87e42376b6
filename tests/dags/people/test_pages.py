"""What a run left for people, in the browser of a user who may see it, and nothing else."""

from __future__ import annotations

import urllib.error
import urllib.request
from urllib.parse import quote

import pytest

from harness import PROJECT
from tests.dags.people.conftest import Site

RUN = "manual__2013-02-01T00:00:00+00:00__abc"


def ask(site: Site, path: str, *, known: bool = True) -> tuple[int, str, str]:
    """The status, the content and the policy of an answer."""
    headers = {"Authorization": f"Bearer {site.airflow._token}"} if known else {}
    try:
        with urllib.request.urlopen(
            urllib.request.Request(site.airflow.url + path, headers=headers), timeout=30
        ) as answer:
            return answer.status, answer.read().decode(), answer.headers["Content-Security-Policy"]
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode(), ""


@pytest.fixture(scope="module")
def base(site: Site) -> str:
    """The address of the pages of a run that left a report and that failed while it bundled."""
    from pipelines.runs.workspaces.workspace import Workspace

    run = Workspace(PROJECT, site.var, f"train_and_evaluate.{RUN}")
    other = Workspace(PROJECT, site.var, "collect_and_validate.r")
    for path, text in (
        (run.reports / "reports" / "validation.json", "{}"),
        (other.reports / "reports" / "validation.json", "{}"),
        (other.reports / "reports" / "data_docs" / "index.html", "<h1>checks</h1>"),
        (run.reports / "reports" / "evaluation.html", "<h1>held</h1>"),
        (run.path / "build" / "bundle" / "manifest.json", "{}"),
        (run.path / "data" / "accepted" / "2013-01.csv", "a row"),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return f"/bulkhead/runs/train_and_evaluate/{quote(RUN)}/"


def test_report_is_shown_to_a_user_and_runs_no_script(site: Site, base: str) -> None:
    status, content, policy = ask(site, f"{base}reports/evaluation.html")
    assert (status, content) == (200, "<h1>held</h1>")
    assert policy.startswith("default-src 'none'; style-src 'self'")


def test_list_names_what_the_run_has(site: Site, base: str) -> None:
    status, content, _ = ask(site, base)
    assert status == 200
    assert "href='reports/evaluation.html'" in content
    assert "href='build/bundle/manifest.json'" in content
    assert "metrics.json" not in content


def test_data_docs_are_those_of_the_run_that_made_the_same_checks(site: Site, base: str) -> None:
    assert ask(site, f"{base}reports/data_docs/index.html")[:2] == (200, "<h1>checks</h1>")
    assert ask(site, f"/bulkhead/runs/monitor/{quote(RUN)}/reports/data_docs/index.html")[0] == 404


def test_nothing_is_shown_to_a_stranger(site: Site, base: str) -> None:
    assert ask(site, f"{base}reports/evaluation.html", known=False)[0] == 401
    assert ask(site, "/bulkhead/progress/details", known=False)[0] == 401
    assert ask(site, "/bulkhead/progress", known=False)[:2] == (200, '{"state":"ok","waiting":0}')


@pytest.mark.parametrize(
    "path", ["data/accepted/2013-01.csv", "reports/%2e%2e/%2e%2e/calls", "reports/none.html", ".git/run.json"]
)
def test_nothing_else_is_shown(site: Site, base: str, path: str) -> None:
    status, content, _ = ask(site, base + path)
    assert status == 404
    assert "a row" not in content
