"""What is kept of earlier runs, trials and models, goes when the code that made it is another."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from harness import PROJECT
from pipelines.stages.staleness import models
from pipelines.stages.tune import search


@pytest.mark.parametrize("stage", [models, search])
@pytest.mark.parametrize("place", ["models/engines/local.py", "data/cuts.py", "data/training.py"])
def test_code_that_batches_trains_and_rounds_is_part_of_the_identity(
    stage: Any, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(PROJECT / "pipelines", tmp_path / "pipelines", ignore=shutil.ignore_patterns("__pycache__"))
    before = stage._code()
    monkeypatch.setattr(stage, "_PROJECT", tmp_path)
    assert stage._code() == before
    path = tmp_path / "pipelines" / place
    path.write_text(path.read_text() + "\n")
    assert stage._code() != before


@pytest.mark.parametrize("stage", [models, search])
def test_libraries_that_make_the_numbers_are_part_of_the_identity(stage: Any) -> None:
    assert {"numpy", "scikit-learn", "xgboost", "xgboost-cpu"} <= set(stage._LIBRARIES)
