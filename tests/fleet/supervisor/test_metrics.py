"""A replica's page of metrics: asked for with a caller's key, and none where the replica refuses."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from contract import api_keys
from fleet.configuration.settings import Settings
from fleet.configuration.state import Replica
from fleet.supervisor import metrics

KEY = "k" * 40
PAGE = 'bulkhead_rows_total{model_version="a"} 3\n'


class _Guarded(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        allowed = (self.path, self.headers["authorization"]) == ("/metrics", f"Bearer {KEY}")
        self.send_response(200 if allowed else 401)
        self.end_headers()
        self.wfile.write(PAGE.encode())

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def replica() -> Iterator[Replica]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Guarded) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Replica("one", "d" * 64, server.server_address[1])
        server.shutdown()


def test_page_is_asked_for_with_a_callers_key(replica: Replica, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(f"{KEY}\n")
    settings = Settings("store", tuple, tmp_path, passed_on={api_keys.VARIABLE: str(tmp_path / "keys")})
    assert metrics.page(replica, settings, 5.0) == PAGE


def test_refusal_is_no_page_without_counts(replica: Replica, tmp_path: Path) -> None:
    assert metrics.page(replica, Settings("store", tuple, tmp_path), 5.0) is None


def test_samples_of_other_names_are_passed_over() -> None:
    text = f'{PAGE}bulkhead_rows_total_created{{model_version="a"}} 9\n'
    assert [*metrics.samples(text, ["bulkhead_rows_total"])] == [("bulkhead_rows_total", {"model_version": "a"}, 3.0)]
