"""The status page in a browser without a network: what it shows, that it shows no markup of others, and that it asks for nothing else."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from fleet.monitoring.costs import report
from fleet.monitoring.costs.ledger import Use
from fleet.monitoring.costs.prices import Prices, Training
from fleet.monitoring.page import server
from fleet.monitoring.page.server import Server, UnixServer, files
from fleet.supervisor import unix_http

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
NEEDS_BROWSER = pytest.mark.skipif(BROWSER is None, reason="no Chromium: Debian has it in chromium")
EVIL = '<img src=x onerror="document.title=1"><script>document.title=2</script>'
LIVE, CANARY = "a" * 64, "b" * 64
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--virtual-time-budget=3000",
    "--dump-dom",
]
# Beside the page's own script, since its policy runs no other.
PROBE = """
const refused = [];
document.addEventListener("securitypolicyviolation", (event) => refused.push(event.blockedURI));
setTimeout(() => {
  const style = getComputedStyle(document.body);
  document.body.dataset.seen = JSON.stringify({
    fetched: performance.getEntriesByType("resource").map((entry) => entry.name), refused,
    wide: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    lines: document.querySelectorAll("svg path.plot").length, images: document.images.length, ground: style.backgroundColor,
    unlabelled: document.querySelectorAll("table:not(:has(caption)), th:not([scope]), svg:not([aria-label])").length,
    shown: [...document.querySelectorAll("section:not([hidden])")].map((section) => section.id),
  });
}, 2500);
"""


def figures(**given: float | None) -> dict[str, float | None]:
    names = ("rows_per_s", "requests_per_s", "errors_per_s", "p50_s", "p99_s")
    return dict.fromkeys(names) | given


def snapshot() -> dict[str, Any]:
    evidence = [[1_795_953_600.0 + step, 5, step, {"outcome": 1.1**step, "latency": None}] for step in range(20)]
    points = [{"at": 1_795_953_600.0 + step, **figures(requests_per_s=step, p99_s=0.002)} for step in range(9)]
    points[4]["requests_per_s"] = None
    replica = {"name": EVIL, "digest": CANARY, "admin_port": 1, "state": "RUNNING", "pid": 7, "ready": True}
    use = Use(60, 120, {"replicas": 3.0}, 9.0, 4000, 0, 0, 0)
    return {
        "at": 1_795_953_600.0,
        "now": 1_795_953_601.0,
        "status": {
            "ready": False,
            "running": True,
            "problems": [f"1 of 2 replicas of {EVIL} are ready"],
            "http": "http://127.0.0.1:8080",
            "grpc": "127.0.0.1:8081",
            "live": {"digest": LIVE},
            "canary": {"digest": CANARY, "percent": 5, "served": {"live": {"requests": 1234567, "errors": 0}}},
            "replicas": [replica, replica | {"ready": False, "in_flight": 3, "restarts": 2}],
        },
        "versions": [
            {
                "role": "live",
                "digest": LIVE,
                "at": "2026-11-29T12:00:00Z",
                "by": EVIL,
                "percent": 95,
                "ready": 1,
                "replicas": 2,
            }
            | figures(requests_per_s=17.25, errors_per_s=0, p50_s=0.00021, p99_s=1.5),
            {"role": "shadow", "digest": CANARY, "at": None, "by": None, "percent": 25, "ready": 1, "replicas": 1}
            | figures(),
            {"role": "canary", "digest": CANARY, "at": None, "by": None, "percent": 5, "ready": 0, "replicas": 1}
            | figures(),
        ],
        "traffic": {"now": figures(), "points": points},
        "canary": {
            "verdict": "wait",
            "why": EVIL,
            "evidence": {"outcome": 6.1, "latency": None},
            "thresholds": {"outcome": 150, "latency": 150},
            "history": evidence,
            "started_at": 1_795_953_600.0,
        },
        "scaling": {
            "mode": "panic",
            "desired": 3,
            "ready": 2,
            "history": [[1.0, None, 2, 2], [2.0, 4.0, 3, 2]],
            "why": EVIL,
        },
        "shadow": {"rows": {"compared": 1000, "differing": 2}, "features": {"differing": {EVIL: 2}}},
        "history": [
            {"at": "2026-11-29T12:00:00Z", "verb": "deploy", "by": EVIL, "bundle": CANARY, "why": EVIL, "verdict": None}
        ],
        "costs": report.of({"2026-11-29": use}, Prices(), Training()),
    }


@contextmanager
def serving(status: Mapping[str, Any], script: str = PROBE) -> Iterator[int]:
    """The page's own server, with that status."""
    code, content, kind = files()["/page.js"]()
    answers = {
        **files(),
        "/page.js": lambda: (code, content + script.encode(), kind),
        "/status.json": lambda: (200, json.dumps(status).encode(), "application/json"),
    }
    with Server(answers, 0) as found, _running(found):
        yield found.server_address[1]


@contextmanager
def _running(found: Server) -> Iterator[None]:
    thread = threading.Thread(target=found.serve_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        found.shutdown()
        thread.join()


def shown(port: int, directory: Path, *flags: str) -> tuple[dict[str, Any], str]:
    """What the probe saw, and the page's markup after its script has run."""
    page = shown_as_is(port, directory, *flags)
    found = re.search(r'data-seen="(.*?)"', page)
    assert found, page
    seen: dict[str, Any] = json.loads(html.unescape(found[1]))
    return seen, page


def shown_as_is(port: int, directory: Path, *flags: str) -> str:
    assert BROWSER
    command = [BROWSER, *FLAGS, f"--user-data-dir={directory}", *flags, f"http://127.0.0.1:{port}/"]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout


@NEEDS_BROWSER
@pytest.mark.parametrize(("width", "scheme", "ground"), [(1280, 1, "rgb(246, 247, 249)"), (500, 0, "rgb(15, 19, 24)")])
def test_page_shows_everything_and_asks_nobody_else(width: int, scheme: int, ground: str, tmp_path: Path) -> None:
    with serving(snapshot()) as port:
        flags = (f"--window-size={width},900", f"--blink-settings=preferredColorScheme={scheme}")
        seen, page = shown(port, tmp_path, *flags)
    own = f"http://127.0.0.1:{port}"
    assert set(seen.pop("fetched")) == {f"{own}/page.css", f"{own}/page.js", f"{own}/status.json"}
    # Traffic 2 + 2, canary 2 + 1, scaling 2 + 1; no line of latencies without a value is left out: its path is empty.
    assert seen == {
        "refused": [],
        "wide": 0,
        "lines": 9,
        "images": 0,
        "ground": ground,
        "unlabelled": 0,
        "shown": ["problems", "traffic", "versions", "canary", "shadow", "replicas", "scaling", "costs", "history"],
    }
    assert page.count("&lt;img src=x onerror=") >= 8
    assert "<img" not in page
    for text in ("17.3", "0.210 ms", "1.50 s", "1,234,567", "not ready (RUNNING)", "aaaaaaaaaaaa", "80 USD"):
        assert text in page, text


@NEEDS_BROWSER
@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (
            snapshot() | {"scaling": {"mode": "fixed", "desired": 2, "why": "fleet.yaml says so"}},
            "fixed: 2 wanted – fleet.yaml says so",
        ),
        (snapshot() | {"scaling": {"mode": "panic", "desired": 3, "ready": None}}, "panic: – ready, 3 wanted"),
        ({"at": None, "now": 1.0}, "looking …"),
        (snapshot() | {"now": 1_795_953_660.0}, "a part of the fleet does not answer; this is from"),
        (
            {
                "at": 1.0,
                "now": 1.0,
                "status": {"ready": False, "running": False, "problems": ["no store"], "replicas": []},
            },
            "no store",
        ),
    ],
)
def test_page_says_what_it_does_not_know(status: dict[str, Any], expected: str, tmp_path: Path) -> None:
    with serving(status) as port:
        seen, page = shown(port, tmp_path)
    assert expected in page
    assert seen["refused"] == []
    assert "cannot be shown" not in page


def test_page_names_no_address_of_others() -> None:
    for path, answer in files().items():
        text = answer()[1].decode()
        assert set(re.findall(r"(?:https?:)?//[\w.]+", text)) <= {"http://www.w3.org"}, path  # the name of SVG
        assert not re.search(r"innerHTML\s*=[^=]|insertAdjacent|document\.write|eval\(|style=|<script>", text), path


def ask(port: int, method: str, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request(method, path, headers=headers)
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response.status, dict(response.headers), content


def test_server_answers_get_and_head_of_its_own_paths_only() -> None:
    with serving(snapshot(), script="") as port:
        status, headers, content = ask(port, "GET", "/?old")
        assert (status, b"<title>" in content) == (200, True)
        assert headers["Content-Security-Policy"].startswith(
            "default-src 'none'; script-src 'self'; style-src 'self'; "
        )
        assert "unsafe" not in headers["Content-Security-Policy"]
        assert headers["Cache-Control"] == "no-store"
        assert ask(port, "HEAD", "/")[2] == b""
        assert ask(port, "HEAD", "/")[1]["Content-Length"] == str(len(content))
        assert [ask(port, method, "/status.json")[0] for method in ("POST", "PUT", "DELETE", "OPTIONS")] == [501] * 4
        assert [ask(port, "GET", path)[0] for path in ("/../server.py", "/page.html")] == [404] * 2


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8085", 200),
        ("localhost", 200),
        ("localhost:8085", 200),
        ("[::1]:8085", 200),
        ("evil.example", 403),
        ("127.0.0.1.evil.example:80", 403),
        ("", 403),
    ],
)
def test_page_of_another_name_cannot_read_the_status(host: str, status: int) -> None:
    with serving(snapshot()) as port:
        assert ask(port, "GET", "/status.json", host=host)[0] == status


def test_unix_socket_answers_the_checks_of_other_processes(tmp_path: Path) -> None:
    path = tmp_path / "page.http"
    path.touch()  # left by a killed one
    with UnixServer({"/livez": lambda: (200, b"\n", "text/plain")}, path) as found, _running(found):
        assert unix_http.answers(path, "/livez", limit_s=60)
        assert not unix_http.answers(path, "/", limit_s=60)


def test_server_says_nothing_of_its_python() -> None:
    with serving(snapshot()) as port:
        assert ask(port, "GET", "/")[1]["Server"] == "fleet"
    assert server.files().keys() == {"/", "/page.css", "/page.js"}
