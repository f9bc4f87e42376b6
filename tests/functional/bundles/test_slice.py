"""The copy of a slice that tests work on."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from harness import slice as made


def test_copy_of_a_place_where_a_fleet_ran_leaves_its_sockets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "metrics.json").write_text("{}")
    monkeypatch.chdir(tmp_path)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("one/envoy.sock")
    monkeypatch.setenv("BULKHEAD_TEST_SLICE", str(tmp_path / "one"))
    made.prepared(tmp_path / "two")
    assert [path.name for path in (tmp_path / "two").iterdir()] == ["metrics.json"]
