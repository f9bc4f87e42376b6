"""A tiny project of its own: a real git repository and a real DVC pipeline, whose stages take milliseconds."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from pipelines.runs.commands import environment_of, execute, repro
from pipelines.runs.workspaces.workspace import Workspace
from tests.faults.places import ODD

PARAMS = """\
# What is particular to this table.
name: tiny   # a name

data:
  months: ["2013-01", "2013-02"]   # collected once each
  columns:
    origin: {kind: category, values: [EWR, JFK]}
    list:
      - {column: carrier}
"""

PIPELINE = """\
stages:
  collect:
    foreach: ${data.months}
    do:
      cmd: mkdir -p data && echo ${item} >> ../../collected.txt; echo ${item} > data/${item}.txt
      params: [name]
      outs:
        - data/${item}.txt
  validate:
    cmd: python check.py
    deps: [data, check.py]
    outs: [report.txt]
  evaluate:
    cmd: cat report.txt > evaluated.txt
    deps: [report.txt]
    outs: [evaluated.txt]
  bundle:
    cmd: cat evaluated.txt > bundle.txt
    deps: [evaluated.txt]
    outs: [bundle.txt]
"""

CHECK = """\
from pathlib import Path
names = sorted(path.stem for path in Path("data").glob("*.txt"))
if "2013-04" in names:
    raise SystemExit(65)
Path("report.txt").write_text(" ".join(names))
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / ODD
    root.mkdir()
    git(root, "init", "--quiet", "--initial-branch=main")
    (root / "params.yaml").write_text(PARAMS)
    (root / "dvc.yaml").write_text(PIPELINE)
    (root / "check.py").write_text(CHECK)
    (root / ".gitignore").write_text("/var/\n/data/\n/*.txt\n")
    (root / ".dvc").mkdir()
    (root / ".dvc" / ".gitignore").write_text("/config.local\n/tmp\n/cache\n")
    (root / ".dvc" / "config").write_text("[core]\n    analytics = false\n")
    commit(root)
    return root


@pytest.fixture
def workspace(project: Path) -> Workspace:
    return workspace_of(project, "first")


def workspace_of(project: Path, run: str) -> Workspace:
    return Workspace(project, project / "var", run)


def commit(root: Path) -> None:
    git(root, "add", "--all")
    git(root, "-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "--quiet", "--message=A commit")


def git(root: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True, text=True).stdout


def repro_in(workspace: Workspace, *stages: str) -> int:
    return repro(workspace, stages, environment_of(workspace.project, workspace.var))


def run_in(workspace: Workspace, *command: str) -> int:
    return execute(workspace, command, environment_of(workspace.project, workspace.var))
