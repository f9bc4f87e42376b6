"""The tab of a run with its stages and months: who may see it, and what it shows in a real browser beside a REST API that is a script."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from harness import PROJECT

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
EVIL = '<img src=x onerror="document.title=1">'
RUN = "manual__2026-11-30T03:09:12+00:00"
TASKS = f"/airflow/api/v2/dags/train_and_evaluate/dagRuns/{RUN}/taskInstances"
OUTCOME = {
    "stage": "evaluate",
    "state": "failed",
    "seconds": 75.3,
    "stages": [
        {
            "stage": "collect",
            "state": "unchanged",
            "seconds": 0.2,
            "lines": 1,
            "months": [{"month": m, "state": "unchanged", "seconds": 0.1, "lines": 1} for m in ("2013-01", "2013-02")],
        },
        {
            "stage": "validate",
            "state": "ran",
            "seconds": 4.25,
            "lines": 3,
            "months": [
                {"month": "2013-01", "state": "ran", "seconds": 1.2, "lines": 5, "rows": 26105},
                {"month": "2013-02", "state": "refused", "seconds": 0.3, "lines": 6, "rows": 24951},
            ],
            "facts": {"rows": 51056, "said": EVIL},
        },
        {"stage": "evaluate", "state": "failed", "seconds": 70.8, "lines": 9, "months": []},
    ],
}


class Rest(BaseHTTPRequestHandler):
    """Airflow's REST API of one run, and the page."""

    is_logged_in = True

    def do_GET(self) -> None:
        path = self.path.replace("%3A", ":").replace("%2B", "+")
        task = {"task_id": "evaluate", "state": "failed", "try_number": 2, "start_date": "2026-11-30T03:09:13Z"}
        answers: dict[str, Any] = {
            TASKS: {"task_instances": [task, {**task, "task_id": "close", "state": "success", "start_date": None}]},
            f"{TASKS}/evaluate/xcomEntries/outcome": {"value": OUTCOME},
        }
        if path.startswith("/airflow/stages-and-months/run?"):
            self.answer(200, "text/html", (PROJECT / "dags/plugins/stages_and_months.html").read_bytes())
        elif not self.is_logged_in:
            self.answer(401, "application/json", b"{}")
        elif path in answers:
            self.answer(200, "application/json", json.dumps(answers[path]).encode())
        else:
            self.answer(404, "application/json", b"{}")

    def answer(self, code: int, kind: str, content: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def rest() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Rest) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def answer_of(app: Any, path: str) -> Any:
    import httpx

    async def ask() -> Any:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://airflow") as client:
            return await client.get(path)

    return asyncio.run(ask())


def shown(rest: str, directory: Path) -> str:
    """The page's markup when its script has run."""
    assert BROWSER
    url = f"{rest}/airflow/stages-and-months/run?dag=train_and_evaluate&run={RUN.replace('+', '%2B')}"
    wait = "--virtual-time-budget=5000"
    command = [BROWSER, *FLAGS, wait, f"--user-data-dir={directory}", "--dump-dom", url]
    page = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout
    return page[page.index("<main") : page.index("</main>")]


@pytest.mark.skipif(BROWSER is None, reason="no Chromium: Debian has it in chromium")
def test_page_shows_stages_and_months_with_links_to_the_log(rest: str, tmp_path: Path) -> None:
    page = shown(rest, tmp_path)
    rows = [re.sub(r"<[^>]+>", " ", row).split() for row in re.findall(r"<tr>(.*?)</tr>", page)]
    cached = ["unchanged,", "from", "the", "cache"]
    assert rows == [
        ["month", "collect", "validate", "rows"],
        ["2013-01", *cached, "0.1", "s", "ran", "1.2", "s", "26,105"],
        ["2013-02", *cached, "0.1", "s", "refused", "0.3", "s", "24,951"],
        ["stage", "state", "duration", "facts"],
        ["collect", *cached, "0.2", "s"],
        ["validate", "ran", "4.3", "s", "rows", "51,056,", "said", "&lt;img", "src=x", "onerror=\"docu"],
        ["evaluate", "failed", "1", "min", "11", "s"],
    ]  # fmt: skip
    assert "<img" not in page
    run = RUN.replace(":", "%3A").replace("+", "%2B")
    links = set(re.findall(r'href="([^"]+)"', page))
    assert links == {f"/airflow/dags/train_and_evaluate/runs/{run}/tasks/evaluate?try_number=2"}
    assert page.count("<a ") == 7


@pytest.mark.skipif(BROWSER is None, reason="no Chromium: Debian has it in chromium")
def test_page_shows_nothing_of_the_run_without_a_login(
    rest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Rest, "is_logged_in", False)
    page = shown(rest, tmp_path)
    assert "Airflow does not show this run: 401" in page
    assert "2013" not in page


@pytest.mark.filterwarnings("ignore:Using .httpx. with .starlette.testclient.")  # inside of a library of Airflow's
def test_page_needs_a_login_and_is_a_tab_of_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(PROJECT / "dags" / "plugins"))
    import stages_and_months
    from airflow.api_fastapi.core_api.security import get_user

    (view,) = stages_and_months.StagesAndMonthsPlugin.external_views
    assert view["destination"] == "dag_run"
    app = stages_and_months.application()
    path = view["href"].replace(stages_and_months._PREFIX, "", 1)
    assert answer_of(app, path).status_code == 401
    monkeypatch.setitem(app.dependency_overrides, get_user, lambda: "somebody")
    answer = answer_of(app, path)
    assert answer.status_code == 200
    assert "frame-ancestors 'self'" in answer.headers["Content-Security-Policy"]
