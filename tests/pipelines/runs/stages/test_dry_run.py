"""A dry run tells what would run, and leaves nothing; a forced run runs the stages of its DAG, and no others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pipelines.runs import graph
from pipelines.runs.commands import environment_of, repro
from pipelines.runs.workspaces.closing import close_workspace
from pipelines.runs.workspaces.opening import open_workspace
from pipelines.runs.workspaces.workspace import Workspace
from tests.pipelines.runs.conftest import commit, workspace_of

DECLARE = """\
  declare:
    cmd: "true"
    always_changed: true
"""
GRAPH = {
    "collect": {"dag": "collect_and_validate", "upstream": []},
    "validate": {"dag": "collect_and_validate", "upstream": ["collect"]},
    "evaluate": {"dag": "train_and_evaluate", "upstream": ["validate"]},
    "bundle": {"dag": "bundle_and_deploy", "upstream": ["evaluate"]},
}


@pytest.fixture(autouse=True)
def compiled(project: Path) -> None:
    """A compiled graph, and a stage that has no task."""
    with (project / "dvc.yaml").open("a") as stream:
        stream.write(DECLARE)
    (project / "dags").mkdir()
    (project / graph.FILE_NAME).write_text(json.dumps({"stages": GRAPH}))
    commit(project)


def states_of(workspace: Workspace, stage: str, capfd: pytest.CaptureFixture[str], **options: bool) -> dict[str, str]:
    """The states of the stages of a run."""
    assert repro(workspace, [stage], environment_of(workspace.project, workspace.var), **options) == 0
    outcome: dict[str, Any] = json.loads(capfd.readouterr().out.splitlines()[-1])
    return {entry["stage"]: entry["state"] for entry in outcome["stages"]}


def collected(project: Path) -> list[str]:
    path = project / "var" / "collected.txt"
    return path.read_text().split() if path.exists() else []


def test_dry_run_runs_nothing_and_leaves_nothing(
    project: Path, workspace: Workspace, capfd: pytest.CaptureFixture[str]
) -> None:
    open_workspace(workspace)
    states = states_of(workspace, "evaluate", capfd, dry_run=True)
    assert states == dict.fromkeys(["collect", "validate", "evaluate"], "would run")
    assert collected(project) == []
    assert "leaves no record" in close_workspace(workspace, keep=False)
    assert not (project / "var" / "runs" / "locks").exists()
    assert not workspace.path.exists()


def test_dry_run_knows_what_the_cache_has(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    first = workspace_of(project, "first")
    open_workspace(first)
    states_of(first, "evaluate", capfd)
    (project / "check.py").write_text((project / "check.py").read_text() + "# changed\n")
    commit(project)
    second = workspace_of(project, "second")
    open_workspace(second)
    states = states_of(second, "evaluate", capfd, dry_run=True)
    assert states == {"collect": "unchanged", "validate": "would run", "evaluate": "would run"}


def test_forced_run_runs_the_stages_of_its_dag(project: Path, capfd: pytest.CaptureFixture[str]) -> None:
    first = workspace_of(project, "first")
    open_workspace(first)
    states_of(first, "evaluate", capfd)
    assert collected(project) == ["2013-01", "2013-02"]
    second = workspace_of(project, "second")
    open_workspace(second)
    assert states_of(second, "evaluate", capfd, force=True)["evaluate"] == "ran"
    assert collected(project) == ["2013-01", "2013-02"]
    assert states_of(second, "validate", capfd, force=True)["validate"] == "ran"
    assert sorted(collected(project)) == ["2013-01", "2013-01", "2013-02", "2013-02"]
