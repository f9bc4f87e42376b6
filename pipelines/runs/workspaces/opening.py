"""Open a workspace: clone the project at a commit, cut the months, and begin with earlier results."""

from __future__ import annotations

import shutil
import subprocess
import uuid
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from contract.errors import ConfigurationError
from contract.files import private_directory, write_atomically
from pipelines.runs import months
from pipelines.runs.months import recollected
from pipelines.runs.stages import earlier
from pipelines.runs.workspaces.records import read_record
from pipelines.runs.workspaces.workspace import State, Workspace, write_state

_SITE = ".dvc/tmp/site"


def open_workspace(
    workspace: Workspace,
    *,
    through: str | None = None,
    like: Workspace | None = None,
    again: Sequence[str] = (),
    now: str | None = None,
    alone: bool = True,
) -> State:
    """Make the workspace from the project's last commit, or find it again unchanged.

    Args:
        through: the last month; by default the last one in `params.yaml`.
        like: a recorded run, to start from its commit, months and results.
        again: months whose partitions are collected again.
        now: the current month, which is not over and so is refused; None to skip that check.
        alone: begin with the results of the nearest recorded run; false where each of several workers would find another one.

    Raises:
        ConfigurationError: there is no such month, commit or recorded run, or a month is not over.
    """
    with workspace.guard():
        if workspace.path.exists():
            return workspace.state()
        entry = read_record(like) if like else None
        last = through or (entry["through"] if entry else None)
        return make(workspace, entry["commit"] if entry else "HEAD", last, like=like, again=again, now=now, alone=alone)


def make(
    workspace: Workspace,
    revision: str,
    last: str | None,
    *,
    like: Workspace | None = None,
    again: Sequence[str] = (),
    now: str | None = None,
    alone: bool = False,
) -> State:
    """Make the workspace of a commit and its months through the last one, as `open_workspace` says; the guard is held."""
    incoming = workspace.path.with_name(f".incoming-{uuid.uuid4().hex}")
    try:
        commit = _clone(workspace.project, incoming, revision)
        _share_cache(workspace, incoming)
        params = incoming / "params.yaml"
        listed = months.cut(params, last) if last else months.read(params)
        months.refuse_unfinished(listed, now)
        months.refuse_unlisted(again, listed)
        before = like or (_nearest(workspace, commit, listed[-1]) if alone else None)
        if before:
            shutil.copyfile(before.recorded_lock, incoming / "dvc.lock")
            if (before.reports / "metrics.json").is_file():  # in git, not in DVC's cache
                shutil.copyfile(before.reports / "metrics.json", incoming / "metrics.json")
        if not like:
            recollected.forget(incoming / "dvc.lock", workspace.var)
        state = State(workspace.run, commit, tuple(listed), again=tuple(again))
        write_state(incoming, state)
        incoming.rename(workspace.path)
    finally:
        shutil.rmtree(incoming, ignore_errors=True)
    return state


def _nearest(workspace: Workspace, commit: str, last: str) -> Workspace | None:
    """Return the recorded run with whose results this one begins, so that DVC need not look for them stage by stage."""
    name = earlier.nearest(workspace.record.parent, workspace.name.partition(".")[0], commit, last)
    return replace(workspace, run=name) if name else None


def uncommitted(project: Path) -> list[str]:
    """Return changed files, and new ones that git does not ignore; a run, which starts from a commit, does not see them."""
    new = _git(project, "ls-files", "--others", "--exclude-standard", "--directory", "--no-empty-directory")
    return [*_git(project, "diff", "--name-only", "HEAD").splitlines(), *new.splitlines()]


def _clone(project: Path, target: Path, revision: str) -> str:
    """Make a clone that borrows the project's objects, and return its commit.

    Unlike a worktree, it shares no index, refs or lock with the project.
    """
    commit = _git(project, "rev-parse", "--verify", f"{revision}^{{commit}}")
    _git(project, "clone", "--quiet", "--shared", "--no-checkout", str(project), str(target))
    _git(target, "-c", "advice.detachedHead=false", "checkout", "--quiet", "--detach", commit)
    return commit


def _git(directory: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=directory, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ConfigurationError(f"git {arguments[0]} failed in {directory}: {done.stderr.strip()}")
    return done.stdout.strip()


def _share_cache(workspace: Workspace, checkout: Path) -> None:
    """Let the checkout use the project's cache, so that runs reuse results; links keep one copy of a table on disk."""
    from configobj import ConfigObj

    # The project's own, which git does not know, may name a remote and its credentials.
    own = workspace.project / ".dvc" / "config.local"
    config = ConfigObj(str(own) if own.is_file() else None, encoding="utf-8")
    cache = {"dir": str(workspace.project / ".dvc" / "cache"), "type": "reflink,hardlink,symlink"}
    config.merge({"core": {"analytics": "false", "site_cache_dir": str(workspace.path / _SITE)}, "cache": cache})
    config.filename = None  # so that it returns its lines
    write_atomically(checkout / ".dvc" / "config.local", b"\n".join([*config.write(), b""]))
    private_directory(checkout / _SITE / "repo")  # DVC would make it and its parents world-writable
