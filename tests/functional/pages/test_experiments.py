"""Experiments and searches as users of DVC know them, on two real months; the commands are those of the page."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from docs import code_blocks
from harness import slice as sliced
from tests.functional.commands import printed

PAGE = "docs/how-to/tune.md"
MEASURES = {"roc_auc", "pr_auc", "log_loss", "brier", "calibration_error", "precision", "recall"}
OF_DVC = {"Experiment", "rev", "typ", "Created", "parent", "State", "Executor"}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project of its own, since experiments change it."""
    directory = tmp_path_factory.mktemp("project")
    sliced.prepared(directory)
    return directory


def _lines(containing: str) -> list[list[str]]:
    text = code_blocks.block(PAGE, containing)
    return [shlex.split(line, comments=True) for line in text.splitlines() if line]


def test_experiments_are_run_queued_and_shown(project: Path) -> None:
    now, *queued, start, show = _lines("--queue")
    before = (project / "dvc.yaml").read_text()
    assert "Running stage 'train'" in printed(project, *now)
    differing = json.loads(printed(project, "dvc", "params", "diff", "--json"))
    assert differing["params.yaml"]["train.max_depth"] == {"old": 8, "new": 6, "diff": -2}
    for command in queued:
        printed(project, *command)
    printed(project, *start)
    shown = json.loads(printed(project, "dvc", "exp", "show", "--json"))
    found = [each["revs"][0]["data"] for each in shown[1]["experiments"]]
    depths = {each["params"]["params.yaml"]["data"]["train"]["max_depth"] for each in found}
    assert depths == {4, 6, 10}
    assert len({each["metrics"]["metrics.json"]["data"]["log_loss"] for each in found}) == 3
    columns = printed(project, *show, "--csv").splitlines()[0].split(",")
    assert set(columns) - OF_DVC == {*MEASURES, "train.max_depth", "train.learning_rate"}
    # As a person sees it: the names are whole, and a line fits on a screen.
    table = printed(project, *show).splitlines()
    assert {*MEASURES, "train.max_depth", "train.learning_rate"} <= set(table[1].split())
    assert max(map(len, table)) < 200
    assert (project / "dvc.yaml").read_text() == before  # where DVCLive would declare its files


def test_search_is_run_once_and_its_parameters_are_applied(project: Path) -> None:
    ((*command, count, target),) = _lines("tune.trials=20")
    assert count == "tune.trials=20"
    fewer = [*command, "tune.trials=3", target]
    said = printed(project, *fewer)
    assert "tune: 3 trials" in said
    assert "Running stage 'train'" in said or "Stage 'train'" in said
    found = json.loads((project / "models" / "tuning.json").read_bytes())
    assert len(found["trials"]) == 3
    assert found["evidence"]["clusters"] == 10
    assert found["parameters"] == {}  # ten days decide nothing
    assert "Running stage 'tune'" not in printed(project, "dvc", "repro", "train")


def test_plots_show_the_curve_of_each_model(project: Path) -> None:
    curve = project / "reports" / "training" / "plots" / "metrics" / "validation_loss.tsv"
    now = curve.read_bytes()
    printed(project, "dvc", "exp", "run", "-S", "train.learning_rate=0.3", "train")
    other = curve.read_bytes()
    assert other != now
    printed(project, "dvc", "exp", "run", "-S", "train.learning_rate=0.05", "train")
    assert curve.read_bytes() == now  # from the cache: with the model, its curve
