"""Runs whose tasks work in several checkouts that share no file system: BULKHEAD_RUNS names their place in a bucket.

Tables and models travel through the project's DVC remote. Before a command the workspace is made or brought up to date from there, after it
the new results are added: so each task of a run may land on any worker, and goes on elsewhere when one is lost. Equal inputs give equal
digests, so what a worker adds that was given up is what the next one adds.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from contract.errors import ConfigurationError, ConflictError, UnavailableError
from contract.files import canonical_json, private_directory, write_atomically
from pipelines import paths
from pipelines.runs.workspaces import closing, opening, records
from pipelines.runs.workspaces.shared import VARIABLE, of
from pipelines.runs.workspaces.workspace import State, Workspace, open_workspaces, remove

_KNOWN = ".git/shared.json"  # the opening that this workspace belongs to, and the `dvc.lock` that it began with


def open_run(
    workspace: Workspace, *, through: str | None, like: Workspace | None, again: Sequence[str] = (), now: str | None
) -> State:
    """Open a run, here or, if it is open already, as another worker has opened it."""
    shared = of(workspace)
    if shared is None:
        return opening.open_workspace(workspace, through=through, like=like, again=again, now=now)
    _require_remote(workspace.project)
    if like:
        _fetch_record(like)
    _remove_closed(workspace)
    known = shared.read()
    if known is None or known["closed"]:
        with workspace.guard():
            if workspace.path.exists():
                remove(workspace.path)
        state = opening.open_workspace(workspace, through=through, like=like, again=again, now=now, alone=False)
        mine = {
            "id": uuid.uuid4().hex,
            "commit": state.commit,
            "through": state.months[-1],
            "again": [*state.again],
            "stages": {},
        }
        opened = mine | {"like": like.run if like else None, "failed": None, "on": os.uname().nodename, "closed": False}
        known = shared.change(lambda now: opened if now is None or now["closed"] else now)
        if known["id"] == mine["id"]:
            _know(workspace, known)
    with workspace.guard():
        join(workspace)
    return workspace.state()


def join(workspace: Workspace) -> bool:
    """Make the workspace of a shared run, or bring it up to date; return whether it may lack results. The guard is held.

    Raises:
        ConfigurationError: the run is not open.
    """
    shared = of(workspace)
    if shared is None:
        return False
    known = shared.read()
    if known is None or known["closed"]:
        raise ConfigurationError(
            f"run {workspace.run!r} is not open in {shared.location}; open it with `python -m pipelines.runs open`"
        )
    if workspace.path.exists() and _known(workspace).get("id") != known["id"]:
        remove(workspace.path)
    if not workspace.path.exists():
        _make(workspace, known)
    lock = workspace.path / "dvc.lock"
    stages = _stages(lock)
    changed = any(stages.get(name) != entry for name, entry in known["stages"].items())
    if changed:
        _write_stages(lock, stages | known["stages"])
    if changed or not (workspace.path / paths.METRICS).exists():  # a corrupt one was removed
        _get_reports(workspace, known)
    return changed or bool(known["like"] and not known["stages"])  # what it begins with may have been made elsewhere


def pulling(command: list[str]) -> list[str]:
    """Return a command `dvc repro …` that also looks for results in the DVC remote, where other workers have put theirs."""
    after = command.index("repro") + 1
    return [*command[:after], "--pull", *command[after:]] if os.environ.get(VARIABLE) else command


def pull(workspace: Workspace) -> None:
    """Get all results of the run from the DVC remote; `dvc repro --pull` would ask it anew for each stage."""
    _dvc(workspace, "pull", "--allow-missing")


def share(workspace: Workspace) -> None:
    """Add what the last command has made, or that it failed; the guard is held.

    Raises:
        ConflictError: the run was closed, or opened again, since the command began.
    """
    shared = of(workspace)
    if shared is None:
        return
    known, failed = _known(workspace), workspace.state().failed
    stages = {
        name: entry for name, entry in _stages(workspace.path / "dvc.lock").items() if known["base"].get(name) != entry
    }
    if not failed and stages:
        # First the files, then the state that names them.
        _dvc(workspace, "push", "--run-cache", *stages)
        shared.put_tree(workspace.path)

    def add(now: dict[str, Any] | None) -> dict[str, Any]:
        if now is None or now["closed"] or now["id"] != known["id"]:
            raise ConflictError(f"run {workspace.run!r} was closed meanwhile, or opened again; nothing was added to it")
        new = {} if failed else stages
        again = now["again"] if failed else [*workspace.state().again]
        return now | {"stages": now["stages"] | new, "again": again, "failed": failed, "on": os.uname().nodename}

    shared.change(add)


def record_run(workspace: Workspace) -> dict[str, str]:
    """Record a run, for all workers if it is shared; return the record."""
    shared = of(workspace)
    if shared is None:
        return records.record(workspace)
    with workspace.guard():
        if join(workspace):
            pull(workspace)
        entry = records.record(workspace) | {"reports": f"{shared.location}/{workspace.name}/reports"}
        shared.put("dvc.lock", workspace.recorded_lock.read_bytes())
        shared.put("record.json", canonical_json(entry))
    return entry


def close_run(workspace: Workspace, *, keep: bool = True) -> str:
    """Close a run, whose workspaces other workers then remove; return a summary."""
    shared = of(workspace)
    known = shared.read() if shared else None
    if shared is None or known is None:
        return closing.close_workspace(workspace, keep=keep)
    if known["failed"]:
        return f"{workspace.name} failed in {known['failed']} on {known['on']}; its workspace there is kept as evidence"
    if not known["closed"]:
        if known["stages"] and keep:
            record_run(workspace)
        shared.change(lambda now: {**(now or known), "closed": True})
    _remove_closed(workspace)
    return f"{workspace.name} is closed; the digests of its results are in {shared.location}/{workspace.name}/dvc.lock"


def _remove_closed(workspace: Workspace) -> None:
    """Remove the workspaces here whose runs are closed."""
    for other in open_workspaces(workspace.project, workspace.var):
        shared = of(other)
        known = shared.read() if shared else None
        if known and known["closed"] and not other.is_busy:
            remove(other.path)


def _require_remote(project: Path) -> None:
    from dvc.config import Config

    config = Config(str(project / ".dvc"))
    name = config["core"].get("remote", "")
    if "://" not in config["remote"].get(name, {}).get("url", ""):
        raise ConfigurationError(
            f"{VARIABLE} names a bucket, but the DVC remote {name!r} is a directory of this checkout, which other workers cannot read: "
            "`dvc remote add --local --default NAME s3://…`"
        )


def _make(workspace: Workspace, known: dict[str, Any]) -> None:
    like = Workspace(workspace.project, workspace.var, known["like"]) if known["like"] else None
    if like:
        _fetch_record(like)
    if _git(workspace, "cat-file", "-e", known["commit"]):
        _git(workspace, "fetch", "--quiet", "--all")
    if _git(workspace, "cat-file", "-e", known["commit"]):
        raise ConfigurationError(
            f"{workspace.project} and its git remotes lack the commit {known['commit'][:12]} of run {workspace.run!r}; push it from the "
            "checkout that opened the run"
        )
    opening.make(workspace, known["commit"], known["through"], like=like, again=known["again"])
    _know(workspace, known)


def _know(workspace: Workspace, known: dict[str, Any]) -> None:
    """Note the opening that a new workspace belongs to, and the results that it begins with, which are not the run's."""
    _get_reports(workspace, known)
    base = _stages(workspace.path / "dvc.lock")
    write_atomically(workspace.path / _KNOWN, canonical_json({"id": known["id"], "base": base}))


def _get_reports(workspace: Workspace, known: dict[str, Any]) -> None:
    """Get metrics and reports, those of the run that this one begins like too: DVC's cache holds no metrics, and git holds older ones."""
    for run in filter(None, (known["like"], workspace.run)):
        if shared := of(Workspace(workspace.project, workspace.var, run)):
            shared.get_tree(workspace.path)


def _known(workspace: Workspace) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((workspace.path / _KNOWN).read_bytes())
    except FileNotFoundError:
        return {}
    return found


def _fetch_record(like: Workspace) -> None:
    shared = of(like)
    if shared is None or like.record.exists():
        return
    for key, path in (
        ("dvc.lock", like.recorded_lock),
        ("record.json", like.record),
    ):  # the record last: it says that all is here
        content = shared.get(key)
        if content is None:
            raise ConfigurationError(f"run {like.run!r} left no record in {shared.location}")
        private_directory(path.parent)
        write_atomically(path, content)


def _stages(lock: Path) -> dict[str, Any]:
    from ruamel.yaml import YAML

    if not lock.is_file():
        return {}
    content = YAML(typ="safe").load(lock.read_bytes()) or {}
    found: dict[str, Any] = content.get("stages", {})
    return found


def _write_stages(lock: Path, stages: dict[str, Any]) -> None:
    from dvc.utils.serialize import dump_yaml

    temporary = lock.with_name(f".{lock.name}.new")
    dump_yaml(temporary, {"schema": "2.0", "stages": dict(sorted(stages.items()))})
    temporary.replace(lock)


def _dvc(workspace: Workspace, *command: str) -> None:
    line = [sys.executable, "-m", "dvc", *command, "--quiet"]
    environment = {
        name: value for name, value in os.environ.items() if name != "DVC_SITE_CACHE_DIR"
    }  # the workspace has its own
    done = subprocess.run(line, env=environment, cwd=workspace.path, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UnavailableError(f"`dvc {command[0]}` failed in {workspace.path}: {done.stderr.strip()[-1000:]}")


def _git(workspace: Workspace, *arguments: str) -> int:
    return subprocess.run(["git", *arguments], cwd=workspace.project, capture_output=True, check=False).returncode
