"""Data Docs as a browser without a network shows them: laid out, and nothing is asked for."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from contract.errors import DataRejectedError
from pipelines import paths
from pipelines.params.params import Params
from pipelines.stages.validate import stage
from tests.pipelines.conftest import RAW, write_months

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# What is fetched with a page. A link that somebody may follow is none.
_FETCHED = re.compile(r'<(?:script|img|iframe|link)[^>]+(?:src|href)="(?!data:)[^"]*"|@import|url\(')
_PROBE = """<script>
const box = query => { const found = document.querySelector(query); return found && found.getBoundingClientRect().toJSON() };
const shown = query => [...document.querySelectorAll(query)].filter(found => found.offsetParent).length;
const rows = ".sections tbody tr";
const all = shown(rows), filter = document.getElementById("failed-only");
if (filter) filter.checked = true;
document.title = JSON.stringify({all, failed: shown(rows), side: box("main > div"), sections: box(".sections"),
    mark: getComputedStyle(document.querySelector(".fas"), "::before").content,
    fetched: performance.getEntriesByType("resource").map(entry => entry.name)});
</script>"""


@pytest.fixture(scope="module")
def docs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages of three months, in which only the distances are wrong."""
    directory, before = tmp_path_factory.mktemp("docs"), Path.cwd()
    os.chdir(directory)
    try:
        write_months(directory)
        columns = {**RAW["data"]["columns"], "distance": {"kind": "number", "maximum": 60}}
        params = Params.model_validate({**RAW, "data": {**RAW["data"], "columns": columns}})
        with pytest.MonkeyPatch.context() as patch, pytest.raises(DataRejectedError):
            patch.setenv("BULKHEAD_VAR", str(directory / "var"))
            stage.run(params)
    finally:
        os.chdir(before)
    return Path(directory / paths.DATA_DOCS)


def test_pages_fetch_nothing_and_lead_to_each_other(docs: Path) -> None:
    pages = sorted(docs.rglob("*.html"))
    assert len(pages) == 7
    for page in pages:
        text = page.read_text()
        assert _FETCHED.findall(text) == [], page
        places = [link for link in re.findall(r'href="([^"#]+)"', text) if not link.startswith(("http", "data:"))]
        assert places
        assert [link for link in places if not (page.parent / link).is_file()] == [], page


@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")
def test_pages_are_laid_out_without_a_network(docs: Path, tmp_path: Path) -> None:
    (results,) = docs.glob("validations/2024-01/**/*.html")
    seen = _look(results, tmp_path)
    assert seen["fetched"] == []
    assert seen["side"]["right"] <= seen["sections"]["left"]
    assert seen["sections"]["width"] > 2 * seen["side"]["width"]
    assert seen["mark"] == '"✘"'
    assert 0 < seen["failed"] < seen["all"]
    index = _look(docs / "index.html", tmp_path)
    assert (index["fetched"], index["all"]) == ([], 6)  # three months and three suites


def _look(page: Path, directory: Path) -> dict[str, Any]:
    """What the page tells of itself, in a browser that resolves no name."""
    probed = page.with_name(f"probed-{page.name}")
    probed.write_text(page.read_text().replace("</body>", f"{_PROBE}</body>"))
    options = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--host-resolver-rules=MAP * ~NOTFOUND",
        "--window-size=1300,900",
    ]
    profile = f"--user-data-dir={directory / 'profile'}"
    command = [str(BROWSER), *options, profile, "--dump-dom", probed.resolve().as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    probed.unlink()
    (title,) = re.findall("<title>(.*?)</title>", done.stdout)
    found: dict[str, Any] = json.loads(html.unescape(title))
    return found
