"""What the commands about runs say when a file or a run that they need is missing or broken: one message, and 78."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness import PROJECT
from pipelines.runs import graph
from pipelines.runs.workspaces.opening import open_workspace
from pipelines.runs.workspaces.workspace import Workspace
from tests.pipelines.runs.conftest import commit

BROKEN = ["{", "[]", '{"stages": 3}', '{"stages": {"evaluate": {"dag": "train_and_evaluate"}}}']


def refused(project: Path, *words: str, code: int = 78) -> str:
    """The message of a command that fails, its paths below the project."""
    command = [sys.executable, "-m", "pipelines.runs", *words]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("BULKHEAD")}
    done = subprocess.run(
        command,
        cwd=project,
        env=environment | {"PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
    return done.stderr.strip().replace(f"{project}/", "")


@pytest.mark.parametrize("option", ["--force", "--dry-run"])
def test_repro_says_how_to_compile_the_graph_when_the_commit_has_none(workspace: Workspace, option: str) -> None:
    open_workspace(workspace)
    said = refused(workspace.project, "repro", "--run", "first", option, "evaluate")
    assert said.startswith(
        "repro stopped: var/runs/first/dags/graph.json is missing: write it with `python -m pipelines.runs compile`"
    )


@pytest.mark.parametrize("text", BROKEN)
def test_repro_says_so_when_the_graph_is_broken(workspace: Workspace, text: str) -> None:
    (workspace.project / "dags").mkdir()
    (workspace.project / graph.FILE_NAME).write_text(text)
    commit(workspace.project)
    open_workspace(workspace)
    assert "graph.json is broken" in refused(workspace.project, "repro", "--run", "first", "--force", "evaluate")


@pytest.mark.filterwarnings("ignore:_NoneStep:DeprecationWarning")  # inside of DVC
def test_repro_names_the_stages_that_an_older_graph_has(workspace: Workspace) -> None:
    graph.write(workspace.project, open_ended=False)
    pipeline = workspace.project / "dvc.yaml"
    pipeline.write_text(f"{pipeline.read_text()}  train:\n    cmd: 'true'\n")
    commit(workspace.project)
    open_workspace(workspace)
    said = refused(workspace.project, "repro", "--run", "first", "--force", "train")
    assert "graph.json lacks train; it has the stages bundle, collect, evaluate, validate" in said


@pytest.mark.parametrize(
    "words", [("repro", "--dry-run", "evaluate"), ("repro", "evaluate"), ("record",), ("describe",)]
)
def test_command_names_the_run_that_is_not_open(project: Path, words: tuple[str, ...]) -> None:
    verb, *rest = words
    assert "run 'nobody' has no workspace in var/runs/nobody" in refused(project, verb, "--run", "nobody", *rest)


def test_run_needs_a_name(project: Path) -> None:
    assert "--run is empty" in refused(project, "open", "--run", "", code=64)


@pytest.mark.parametrize("words", [("list",), ("compile",), ("compile", "--check"), ("open", "--run", "first")])
def test_command_says_where_it_belongs(tmp_path: Path, words: tuple[str, ...]) -> None:
    assert "has no dvc.yaml; run this command in the project's root" in refused(tmp_path, *words)


def test_exec_names_the_program_that_is_missing(workspace: Workspace) -> None:
    open_workspace(workspace)
    assert "there is no program missing-program" in refused(
        workspace.project, "exec", "--run", "first", "--", "missing-program"
    )


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("data: [", "unable to read: 'params.yaml'"),
        ("data: 3", "Could not find 'data.months'"),
        ("- 1", "expected a dictionary"),
    ],
)
def test_compile_names_what_dvc_cannot_read(project: Path, text: str, reason: str) -> None:
    (project / "params.yaml").write_text(text)
    said = refused(project, "compile")
    assert said.startswith("compile stopped: dvc.yaml or its params.yaml is wrong: ")
    assert reason in said


@pytest.mark.parametrize(
    ("text", "reason"),
    [("data: [", "is no YAML"), ("data: 3", "data.months must list"), ("- 1", "data.months must list")],
)
def test_open_says_what_is_wrong_with_the_params_of_the_commit(project: Path, text: str, reason: str) -> None:
    (project / "params.yaml").write_text(text)
    commit(project)
    assert reason in refused(project, "open", "--run", "first")
    assert [path.name for path in (project / "var" / "runs").iterdir()] == [".guards"]


@pytest.mark.parametrize("text", ["{", "{}", "[]"])
def test_broken_state_and_record_are_named(workspace: Workspace, text: str) -> None:
    open_workspace(workspace)
    workspace.record.parent.mkdir()
    workspace.record.write_text(text)
    said = refused(workspace.project, "open", "--run", "second", "--like", "first")
    assert said.startswith("open stopped: var/runs/locks/first.json is broken")
    (workspace.path / ".git" / "run.json").write_text(text)
    for words in (("list",), ("close", "--run", "first")):
        assert "var/runs/first/.git/run.json is broken" in refused(workspace.project, *words)
