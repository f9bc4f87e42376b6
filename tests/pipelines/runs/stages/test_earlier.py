from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from pipelines.runs.commands import environment_of, repro
from pipelines.runs.workspaces.closing import close_workspace
from pipelines.runs.workspaces.opening import open_workspace
from pipelines.runs.workspaces.workspace import Workspace
from tests.pipelines.runs.conftest import commit, workspace_of


def ended(project: Path, run: str, through: str | None = None) -> Workspace:
    """A run that has evaluated and is recorded."""
    workspace = workspace_of(project, run)
    open_workspace(workspace, through=through)
    assert repro(workspace, ["evaluate"], environment_of(project, workspace.var)) == 0
    close_workspace(workspace)
    return workspace


def months_of(workspace: Workspace) -> set[str]:
    """The months that a new run knows before it has done anything."""
    lock = workspace.path / "dvc.lock"
    stages = yaml.safe_load(lock.read_bytes())["stages"] if lock.exists() else {}
    return {name.partition("@")[2] for name in stages if "@" in name}


def test_run_without_changes_takes_all_results_at_once_when_one_before_it_is_recorded(
    project: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = ended(project, "monthly.1")
    later = workspace_of(project, "monthly.2")
    open_workspace(later)
    assert (later.path / "dvc.lock").read_bytes() == before.recorded_lock.read_bytes()
    shared = workspace_of(project, "monthly.3")
    open_workspace(shared, alone=False)
    assert months_of(shared) == set()
    capfd.readouterr()
    assert repro(later, ["evaluate"], environment_of(project, later.var)) == 0
    said = capfd.readouterr().out
    assert said.count("didn't change, skipping") == 4
    assert "lock file" not in said  # DVC takes as long to write it as to do all else
    assert json.loads(said.splitlines()[-1])["state"] == "unchanged"
    assert (later.path / "evaluated.txt").read_text() == "2013-01 2013-02"


def test_open_begins_with_the_run_of_its_own_kind_and_commit_that_is_nearest(project: Path) -> None:
    for run, through in (("monthly.3", "2013-03"), ("monthly.1", "2013-01"), ("other.2", "2013-02")):
        ended(project, run, through)
    opened = [workspace_of(project, f"monthly.{name}") for name in "abc"]
    open_workspace(opened[0], through="2013-02")
    open_workspace(opened[1], through="2013-05")
    (project / "check.py").write_text("raise SystemExit(1)\n")
    commit(project)
    open_workspace(opened[2], through="2013-02")
    assert [months_of(workspace) for workspace in opened] == [{"2013-01"}, {"2013-01", "2013-02", "2013-03"}, set()]


@pytest.mark.parametrize("torn", ["monthly.1.json", "monthly.1.dvc.lock"])
def test_open_begins_without_results_when_the_record_is_torn(project: Path, torn: str) -> None:
    path = ended(project, "monthly.1").record.with_name(torn)
    path.write_bytes(path.read_bytes()[:20])
    later = workspace_of(project, "monthly.2")
    open_workspace(later)
    assert months_of(later) == set()


def test_corrupt_object_is_named_and_computed_again_when_a_run_begins_with_it(
    project: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = ended(project, "monthly.1")
    outs = yaml.safe_load(before.recorded_lock.read_bytes())["stages"]["validate"]["outs"]
    digest = outs[0]["md5"]
    kept = project / ".dvc/cache/files/md5" / digest[:2] / digest[2:]
    kept.chmod(0o644)
    kept.write_bytes(b"\0" + kept.read_bytes()[1:])
    later = workspace_of(project, "monthly.2")
    open_workspace(later)
    capfd.readouterr()
    assert repro(later, ["evaluate"], environment_of(project, later.var)) == 0
    assert "'report.txt': corrupt in cache" in capfd.readouterr().out
    assert (later.path / "report.txt").read_text() == "2013-01 2013-02"
