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


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    (tmp_path / "keys").write_text(f"{KEY}\n")
    return Settings("store", tuple, tmp_path, passed_on={api_keys.VARIABLE: str(tmp_path / "keys")})


def test_page_is_asked_for_with_a_callers_key(replica: Replica, settings: Settings) -> None:
    assert metrics.read(replica, settings, 5.0, str) == PAGE


def test_refusal_is_no_page_without_counts(replica: Replica, tmp_path: Path) -> None:
    assert metrics.read(replica, Settings("store", tuple, tmp_path), 5.0, str) is None


@pytest.mark.parametrize("failure", [ValueError, KeyError])
def test_broken_page_is_none(replica: Replica, settings: Settings, failure: type[Exception]) -> None:
    def parse(_: str) -> str:
        raise failure

    assert metrics.read(replica, settings, 5.0, parse) is None


def test_replica_that_refuses_connections_has_no_page(tmp_path: Path) -> None:
    assert metrics.read(Replica("one", "d" * 64, 1), Settings("store", tuple, tmp_path), 1.0, str) is None


def test_samples_of_other_names_are_passed_over() -> None:
    text = f'{PAGE}bulkhead_rows_total_created{{model_version="a"}} 9\n'
    assert [*metrics.samples(text, ["bulkhead_rows_total"])] == [("bulkhead_rows_total", {"model_version": "a"}, 3.0)]
