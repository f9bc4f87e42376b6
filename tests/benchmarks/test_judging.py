"""The benchmark of resamplings measures the same work on both sides."""

from __future__ import annotations

import pytest

from benchmarks.training import judging


def test_resampling_is_measured_beside_scikit_learn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "_ROWS", 600)
    monkeypatch.setattr(judging, "_RESAMPLES", 20)
    monkeypatch.setattr(judging, "_TIMED", 2)
    (found,) = judging.resampling()
    assert (found.name, found.bar) == ("resampling", "≤ 3 s")
    assert found.value > 0
    assert found.command.endswith("python -m benchmarks resampling")
