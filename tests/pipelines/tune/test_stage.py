"""The stage `tune` on tables of deliveries: its file, its kill, and what it cannot see."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from harness import PROJECT
from harness.waiting import until
from pipelines import paths
from pipelines.models.tuning import BETTER, NO_BETTER, OFF
from pipelines.params.params import Params
from pipelines.stages.features import stage as features
from pipelines.stages.train import stage as train
from pipelines.stages.tune import stage as tune
from tests.pipelines.conftest import write_months

TRIALS = 7
SPACE = {"max_depth": [1, 6], "learning_rate": {"low": 0.05, "high": 0.3, "log": True}}


@pytest.fixture
def raw(raw: dict[str, Any]) -> dict[str, Any]:
    """A validation part of as many days as a verdict takes, and settings that are easy to improve."""
    raw["split"]["validation"] = "29d"
    raw["train"] |= {"max_depth": 1, "max_rounds": 30}
    raw["tune"] = {"trials": TRIALS, "space": SPACE}
    return raw


def _found() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(paths.TUNING.read_bytes())
    return found


def test_search_finds_better_settings_which_train_applies(workspace: Path, params: Params) -> None:
    write_months(workspace)
    features.run(params)
    said = tune.run(params)
    found = _found()
    assert found["verdict"] == BETTER
    assert BETTER in said
    assert found["trials"][0]["parameters"] == {}
    assert len(found["trials"]) == TRIALS
    assert found["parameters"]["max_depth"] > 1
    assert found["evidence"]["loss"] == pytest.approx(
        min(trial["loss"] for trial in found["trials"] if trial["loss"] is not None), rel=1e-5
    )
    told = train.run(params)
    training = json.loads(paths.TRAINING.read_bytes())
    assert training["tuned"] == found["parameters"]
    assert "tuned" in told
    # The rounds that stopped the trial's model stop this one: it is the same model.
    (best,) = (trial for trial in found["trials"] if trial["parameters"] == found["parameters"])
    assert training["rounds"] == best["rounds"]
    assert training["validation_log_loss"] == pytest.approx(best["loss"], rel=1e-5)


def test_defaults_stay_when_no_trial_is_better(workspace: Path, raw: dict[str, Any]) -> None:
    write_months(workspace, learnable=False)
    raw["train"]["learning_rate"] = 0.01
    params = Params.model_validate(raw)
    features.run(params)
    assert NO_BETTER in tune.run(params)
    assert _found()["parameters"] == {}
    train.run(params)
    assert "tuned" not in json.loads(paths.TRAINING.read_bytes())


def test_stage_without_trials_reads_nothing(workspace: Path, raw: dict[str, Any]) -> None:
    raw["tune"] = {"trials": 0}
    assert "off" in tune.run(Params.model_validate(raw))
    assert _found() == {"verdict": OFF, "parameters": {}}
    assert not (workspace / "var").exists()


def test_next_search_starts_from_the_last_best(workspace: Path, raw: dict[str, Any]) -> None:
    write_months(workspace)
    params = Params.model_validate(raw)
    features.run(params)
    tune.run(params)
    first, content = _found(), paths.TUNING.read_bytes()
    raw["train"]["seed"] += 1  # another study
    params = Params.model_validate(raw)
    tune.run(params)
    assert _found()["start"] == first["parameters"]
    assert _found()["trials"][1]["parameters"] == first["parameters"]
    raw["train"]["seed"] -= 1
    tune.run(Params.model_validate(raw))
    assert paths.TUNING.read_bytes() == content  # the same search as before, which had nothing to start from


def test_search_sees_nothing_of_the_holdout(workspace: Path, params: Params) -> None:
    write_months(workspace)
    features.run(params)
    tune.run(params)
    content = paths.TUNING.read_bytes()
    for path in (paths.accepted("2024-03"), paths.partition("2024-03")):
        table = pl.read_parquet(path)
        poisoned = table.with_columns(
            pl.when(pl.col("outcome") == "kept").then(pl.lit("broken")).otherwise(pl.lit("kept")).alias("outcome"),
            pl.col("distance") * 0.5,
        )
        poisoned.write_parquet(path)
    (workspace / "var" / "tuning.journal").unlink()
    features.run(params)
    tune.run(params)
    assert paths.TUNING.read_bytes() == content


def test_stage_depends_on_no_file_that_has_the_holdout() -> None:
    stages = yaml.safe_load((PROJECT / "dvc.yaml").read_text())["stages"]
    inputs = [path for path in stages["tune"]["deps"] if path.split("/")[0] in ("data", "reports", "models")]
    assert inputs == ["data/features/schema.json", "data/features/train"]


_ALONE = """
import sys
from pathlib import Path
from pipelines.params.file import parse
from pipelines.stages.tune import stage
if __name__ == "__main__":
    stage.run(parse(Path("params.yaml").read_bytes(), "params.yaml"))
"""


def test_killed_search_goes_on_to_the_same_trials(workspace: Path, raw: dict[str, Any]) -> None:
    write_months(workspace)
    raw["tune"]["trials"] = 9
    params = Params.model_validate(raw)
    features.run(params)
    (workspace / "alone.py").write_text(_ALONE)
    (workspace / "params.yaml").write_text(yaml.safe_dump(raw))
    environment = os.environ | {"PYTHONPATH": str(PROJECT)}
    process = subprocess.Popen(
        [sys.executable, "alone.py"], env=environment, start_new_session=True, stderr=subprocess.DEVNULL
    )
    journal = workspace / "var" / "tuning.journal"
    try:
        # Study, three attributes of it, and three trials: killed in the middle of a batch.
        until(lambda: journal.exists() and journal.read_bytes().count(b"\n") >= 7, "three trials", limit_s=300)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    before = journal.read_bytes()
    tune.run(params)
    resumed = paths.TUNING.read_bytes()
    assert journal.read_bytes().startswith(before[: before.rfind(b"\n") + 1])
    journal.unlink()
    tune.run(params)
    assert paths.TUNING.read_bytes() == resumed
