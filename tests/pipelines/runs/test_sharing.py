"""A run in two checkouts that share a bucket and no file system: each command may land on either, and goes on where another one ended."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from contract.errors import ConfigurationError, ConflictError, UnavailableError
from harness.ports import free_ports
from pipelines.runs.workspaces import sharing
from pipelines.runs.workspaces.closing import close_workspace
from pipelines.runs.workspaces.opening import open_workspace
from pipelines.runs.workspaces.shared import VARIABLE, of
from pipelines.runs.workspaces.workspace import Workspace
from tests.pipelines.runs.conftest import commit, git, repro_in, run_in, workspace_of

METRICS = "metrics.json"
PIPELINE = (
    ("evaluated.txt\n    deps", f"evaluated.txt && cp evaluated.txt {METRICS}\n    deps"),
    ("outs: [evaluated.txt]", f"outs: [evaluated.txt]\n    metrics: [{METRICS}: {{cache: false}}]"),
    ("deps: [evaluated.txt]", f"deps: [evaluated.txt, {METRICS}]"),
)
REMOTE = "[core]\nremote = bucket\n['remote \"bucket\"']\nurl = s3://models/{name}/dvc\n"


@pytest.fixture
def checkouts(project: Path, tmp_path: Path, s3: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """The project and a clone of it, of one bucket; metrics lie in git, and not in DVC's cache."""
    file = project / "dvc.yaml"
    text = file.read_text()
    for before, after in PIPELINE:
        assert before in text
        text = text.replace(before, after)
    file.write_text(text)
    (project / METRICS).write_text('{"older": 1}')
    commit(project)
    other = tmp_path / "other"
    git(tmp_path, "clone", "--quiet", str(project), str(other))
    for name, value in (s3 | {VARIABLE: f"s3://models/{tmp_path.name}/runs"}).items():
        monkeypatch.setenv(name, value)
    for root in (project, other):
        (root / ".dvc" / "config.local").write_text(REMOTE.format(name=tmp_path.name))
    return project, other


def opened(root: Path, run: str = "first", **options: Any) -> Workspace:
    workspace = workspace_of(root, run)
    sharing.open_run(workspace, **{"through": None, "like": None, "now": None, **options})
    return workspace


def digests(lock: Path) -> dict[str, str]:
    stages = yaml.safe_load(lock.read_text())["stages"].values()
    return {out["path"]: out["md5"] for stage in stages for out in stage["outs"]}


def collected(root: Path) -> list[str]:
    path = root / "var" / "collected.txt"
    return path.read_text().split() if path.exists() else []


def test_run_gives_the_same_digests_when_each_command_lands_elsewhere(checkouts: tuple[Path, Path]) -> None:
    mine, other = checkouts
    plain = workspace_of(mine, "plain")
    open_workspace(plain)
    subprocess.run([sys.executable, "-m", "dvc", "repro", "--quiet", "evaluate"], cwd=plain.path, check=True)
    expected = digests(plain.path / "dvc.lock")
    close_workspace(plain)
    (mine / "var" / "collected.txt").unlink()

    assert repro_in(opened(mine), "validate") == 0
    theirs = workspace_of(other, "first")
    assert repro_in(theirs, "evaluate") == 0
    assert run_in(workspace_of(mine, "first"), "test", "-s", "evaluated.txt") == 0
    entry = sharing.record_run(theirs)
    assert digests(theirs.recorded_lock) == expected
    assert entry["through"] == "2013-02"
    assert (collected(mine), collected(other)) == ([], [])  # from the cache of the plain run, through the bucket


def test_next_run_takes_what_another_checkout_has_computed(checkouts: tuple[Path, Path]) -> None:
    mine, other = checkouts
    assert repro_in(opened(mine), "validate") == 0
    assert repro_in(opened(other, "second"), "validate") == 0
    assert sorted(collected(mine)) == ["2013-01", "2013-02"]
    assert collected(other) == []


def test_run_begins_with_a_record_of_another_checkout(checkouts: tuple[Path, Path]) -> None:
    mine, other = checkouts
    judged = opened(mine, through="2013-01")
    assert repro_in(judged, "evaluate") == 0
    sharing.record_run(judged)
    assert "closed" in sharing.close_run(judged)
    assert not judged.path.exists()
    bundled = opened(other, "bundled", like=workspace_of(other, "first"))
    assert repro_in(bundled, "bundle") == 0
    assert bundled.state().months == ("2013-01",)
    assert (bundled.path / "bundle.txt").read_text() == "2013-01"
    assert (bundled.path / METRICS).read_text() == "2013-01"
    assert collected(other) == []


def test_closed_run_leaves_no_workspace_anywhere(checkouts: tuple[Path, Path]) -> None:
    mine, other = checkouts
    assert repro_in(opened(mine), "validate") == 0
    assert repro_in(workspace_of(other, "first"), "evaluate") == 0
    sharing.close_run(workspace_of(other, "first"))
    assert not workspace_of(other, "first").path.exists()
    opened(mine, "second")
    assert not workspace_of(mine, "first").path.exists()


def test_failed_run_is_kept_where_it_failed_and_may_be_tried_again_elsewhere(checkouts: tuple[Path, Path]) -> None:
    mine, other = checkouts
    failed = opened(mine)
    assert run_in(failed, "false") == 1
    assert f"failed in false on {os.uname().nodename}" in sharing.close_run(workspace_of(other, "first"))
    assert failed.path.exists()
    assert run_in(workspace_of(other, "first"), "true") == 0
    assert "is closed" in sharing.close_run(workspace_of(other, "first"))


def test_late_result_is_refused_when_the_run_was_closed_meanwhile(checkouts: tuple[Path, Path]) -> None:
    mine, other = checkouts
    late = opened(mine)
    before = of(late)
    assert before is not None
    sharing.close_run(workspace_of(other, "first"))
    with pytest.raises(ConflictError, match="closed meanwhile"):
        sharing.share(late)
    with pytest.raises(ConfigurationError, match="is not open"):
        repro_in(late, "validate")
    opened(other)
    with pytest.raises(ConflictError, match="opened again"):
        sharing.share(late)
    assert repro_in(late, "validate") == 0  # in a new workspace


def test_two_that_open_a_run_get_one_commit(checkouts: tuple[Path, Path]) -> None:
    mine, other = checkouts
    (mine / "check.py").write_text((mine / "check.py").read_text() + "# newer\n")
    commit(mine)
    first = opened(mine).state().commit
    assert first != git(other, "rev-parse", "HEAD").strip()
    assert opened(other).state().commit == first  # fetched from its git remote


def test_commit_that_is_nowhere_is_named(checkouts: tuple[Path, Path]) -> None:
    mine, other = checkouts
    (other / "check.py").write_text("# never pushed\n")
    commit(other)
    opened(other)
    with pytest.raises(ConfigurationError, match="lack the commit"):
        opened(mine)


def test_runs_are_refused_when_the_place_is_no_bucket_or_the_remote_is_a_directory(
    checkouts: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, _ = checkouts
    (mine / ".dvc" / "config.local").write_text("[core]\nremote = here\n['remote \"here\"']\nurl = ../var/remote\n")
    with pytest.raises(ConfigurationError, match="is a directory of this checkout"):
        opened(mine)
    monkeypatch.setenv(VARIABLE, "/some/directory")
    with pytest.raises(ConfigurationError, match="BULKHEAD_RUNS is '/some/directory'"):
        opened(mine)


def test_failure_can_be_retried_when_the_bucket_does_not_answer(
    checkouts: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_ports(1)[0]}")
    monkeypatch.setattr("contract.store.providers._RETRIES", {"max_retries": 0})
    with pytest.raises(UnavailableError, match="BULKHEAD_RUNS=s3://"):
        opened(checkouts[0])


def test_record_is_the_same_in_the_bucket(checkouts: tuple[Path, Path]) -> None:
    workspace = opened(checkouts[0])
    assert repro_in(workspace, "validate") == 0
    entry = sharing.record_run(workspace)
    shared = of(workspace)
    assert shared is not None
    assert json.loads(shared.get("record.json") or b"") == entry
    assert shared.get("dvc.lock") == workspace.recorded_lock.read_bytes()
