"""One command measures all that can be measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import __main__ as program
from benchmarks import results
from benchmarks.results import Figure, figure


def test_benchmark_that_fails_does_not_keep_the_others_from_being_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken() -> list[Figure]:
        raise RuntimeError("the peer is asleep")

    def sound() -> list[Figure]:
        return [figure("speed", 1.0, "s", peer="the peer", peer_value=2.0, benchmark="sound")]

    monkeypatch.setattr(program.signal, "signal", lambda *_: None)
    monkeypatch.setattr(program, "BENCHMARKS", {"broken": broken, "sound": sound})
    monkeypatch.setattr(results.write, "__kwdefaults__", {"path": tmp_path / "results.json"})
    assert program.main([]) == 1
    assert [entry["name"] for entry in json.loads((tmp_path / "results.json").read_bytes())] == ["speed"]
    printed = capsys.readouterr()
    assert "0.50×" in printed.out
    assert "the peer is asleep" in printed.err
    assert printed.err.endswith("no figures, for the reasons above: broken\n")
    assert program.main(["sound"]) == 0
