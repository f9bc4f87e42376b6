"""The first process of a `dvc repro` collects the missing months ahead; each month's own process takes it, and only in that run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from pipelines import paths
from pipelines.machine import usage
from pipelines.params.params import Params
from pipelines.stages.collect import ahead, stage
from tests.pipelines.collect.collecting import ROWS, collect, write_csv

MONTHS = ["2024-01", "2024-02"]


@pytest.fixture
def deliveries(raw: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
    monkeypatch.chdir(tmp_path)
    write_csv(ROWS, "deliveries.csv")
    raw["data"]["months"] = MONTHS
    return Params.model_validate(raw)


def below_dvc(monkeypatch: pytest.MonkeyPatch, month: str, process: int) -> None:
    """Pretend to be the process of a month's stage below the DVC with this process id."""
    monkeypatch.setattr(usage, "dvc_process", lambda: process)
    monkeypatch.setenv("DVC_ROOT", str(Path.cwd()))
    monkeypatch.setenv("DVC_STAGE", f"collect@{month}")


def test_a_month_that_was_collected_ahead_has_the_bytes_of_its_own_process(
    deliveries: Params, raw: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = collect(raw, "2024-02")
    paths.partition("2024-02").unlink()
    below_dvc(monkeypatch, "2024-01", os.getpid())
    stage.run(deliveries, "2024-01")
    assert not paths.partition("2024-02").exists()
    below_dvc(monkeypatch, "2024-02", os.getpid())
    said = ahead.take("2024-02")
    assert said is not None
    assert said.startswith("2024-02: ")
    assert paths.partition("2024-02").read_bytes() == alone
    assert ahead.take("2024-02") is None


def test_another_run_takes_nothing(deliveries: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    below_dvc(monkeypatch, "2024-01", os.getpid())
    stage.run(deliveries, "2024-01")
    below_dvc(monkeypatch, "2024-02", os.getppid())
    assert ahead.take("2024-02") is None
    assert not paths.partition("2024-02").exists()


def test_nothing_is_collected_ahead_without_dvc_or_when_no_month_is_missing(
    deliveries: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.run(deliveries, "2024-01")
    assert not Path(".dvc").exists()
    below_dvc(monkeypatch, "2024-02", os.getpid())
    stage.run(deliveries, "2024-02")
    assert not Path(".dvc/tmp/ahead").exists()


def test_a_month_without_rows_fails_in_its_own_process_alone(
    raw: dict[str, Any], deliveries: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw["data"]["months"] = ["2023-12", "2024-01", "2024-02", "2025-01"]
    below_dvc(monkeypatch, "2024-01", os.getpid())
    stage.run(Params.model_validate(raw), "2024-01")
    below_dvc(monkeypatch, "2025-01", os.getpid())
    assert ahead.take("2025-01") is None
    below_dvc(monkeypatch, "2024-02", os.getpid())
    assert ahead.take("2024-02")
