"""The comparer of a shadow: what it reads, removes and reports."""

from __future__ import annotations

import fcntl
import json
import os
import struct
from pathlib import Path
from typing import Any

import pytest

from contract.prediction_log.frames import COUNT, Header, framed
from fleet.configuration.state import State
from fleet.monitoring import shadow
from fleet.monitoring.comparison import LIVE, SHADOW
from fleet.monitoring.shadow import Comparer

OLD, NEW = "a" * 64, "b" * 64


def frame(name: str, feature: float, score: float, at: int = 1000) -> bytes:
    identifier = name.encode()
    head = COUNT.pack(1) + struct.pack("<qIB", at, 1, len(identifier))
    return framed(head + identifier + struct.pack("<2f", feature, score))


def header(version: str) -> bytes:
    return Header("flights", version, "regression", (), None, ("distance",), 1).to_bytes()


@pytest.fixture
def comparer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Comparer:
    monkeypatch.setattr(shadow, "_SETTLED_S", 0)
    (tmp_path / shadow.DIRECTORY).mkdir()
    return Comparer(tmp_path, {OLD: LIVE, NEW: SHADOW}, since_ns=1000)


def test_growing_files_are_compared_and_removed_once_their_writers_are_gone(comparer: Comparer) -> None:
    live, other = (comparer.root / shadow.DIRECTORY / f"{name}.predictions" for name in ("live", "other"))
    whole = frame("two", 1.0, 2.0)
    with live.open("wb") as writer:
        fcntl.flock(writer, fcntl.LOCK_EX)
        writer.write(header(OLD) + frame("one", 1.0, 2.0) + whole[:9])
        writer.flush()
        other.write_bytes(header(NEW) + frame("one", 1.0, 2.5))
        comparer.look(0)
        assert (live.exists(), other.exists()) == (True, False)
        writer.write(whole[9:])
    other.write_bytes(header(NEW) + whole)
    comparer.look(1)
    assert not [*(comparer.root / shadow.DIRECTORY).iterdir()]
    found = shadow.report(comparer.root, State(live=OLD, shadow=NEW))
    assert found is not None
    assert (found["requests"]["compared"], found["rows"]["differing"]) == (2, 1)
    assert (found[LIVE], found[SHADOW], found["percent"]) == (OLD, NEW, 100)


def test_files_of_other_bundles_and_of_no_log_are_removed_and_not_compared(comparer: Comparer) -> None:
    directory = comparer.root / shadow.DIRECTORY
    (directory / "third.predictions").write_bytes(header("c" * 64) + frame("one", 1.0, 2.0))
    (directory / "none.predictions").write_bytes(b"not a log\n")
    comparer.look(0)
    assert not [*directory.iterdir()]
    assert json.loads((comparer.root / "shadow.json").read_bytes())["requests"]["waiting"] == 0


def test_new_file_stays_and_is_not_locked_when_its_writer_has_not_locked_it_yet(
    comparer: Comparer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shadow, "_SETTLED_S", 600)
    path = comparer.root / shadow.DIRECTORY / "new.predictions"
    path.touch()
    locked, lock = [], fcntl.flock

    def watched(file: Any, kind: int) -> None:
        locked.append(os.fstat(file if isinstance(file, int) else file.fileno()).st_ino)
        lock(file, kind)

    monkeypatch.setattr(fcntl, "flock", watched)
    comparer.look(0)
    assert path.stat().st_ino not in locked
    assert locked  # the report's


def test_requests_that_were_answered_before_it_began_are_not_its_own(comparer: Comparer) -> None:
    path = comparer.root / shadow.DIRECTORY / "live.predictions"
    path.write_bytes(header(OLD) + frame("before", 1.0, 2.0, at=999) + frame("after", 1.0, 2.0))
    comparer.look(0)
    assert comparer.comparison.summary()["requests"]["waiting"] == 1


def test_report_of_an_earlier_shadow_is_not_shown(comparer: Comparer) -> None:
    comparer.look(0)
    later = State(live=OLD, shadow="c" * 64, mirror_percent=5)
    assert shadow.report(comparer.root, later) == {LIVE: OLD, SHADOW: "c" * 64, "percent": 5}
    assert shadow.report(comparer.root, State(live=OLD)) is None
