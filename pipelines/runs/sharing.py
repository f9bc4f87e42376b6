"""Runs whose tasks work in several checkouts that share no file system: BULKHEAD_RUNS names their place in a bucket.

<run>/state.json     commit, months and results so far, changed by compare-and-swap
<run>/reports/…      metrics and reports so far
<run>/dvc.lock, record.json      once it is recorded

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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from contract.errors import BulkheadError, ConfigurationError, ConflictError, UnavailableError
from contract.files import canonical_json, private_directory, write_atomically
from contract.store.providers import PROVIDERS, Bucket, reason
from contract.store.remote import failure
from pipelines import paths
from pipelines.runs import workspace as local
from pipelines.runs.workspace import State, Workspace

VARIABLE = "BULKHEAD_RUNS"
_KNOWN = ".git/shared.json"  # the opening that this workspace belongs to, and the `dvc.lock` that it began with
_REPORTS = (paths.METRICS, "reports")


@dataclass(frozen=True)
class Shared:
    """The place of one run."""

    location: str
    workspace: Workspace

    @cached_property
    def _bucket(self) -> Bucket:
        return Bucket(f"{self.location}/{self.workspace.name}")

    def read(self) -> dict[str, Any] | None:
        """Return the run's state; None if it was never opened."""
        content = self.get("state.json")
        return None if content is None else json.loads(content)

    def get(self, key: str) -> bytes | None:
        """Return one object."""
        with _explained("read a run", self.location):
            found = self._bucket.read(key)
        return found.content if found else None

    def put(self, key: str, content: bytes) -> None:
        """Write one object."""
        with _explained("write a run", self.location):
            self._bucket.write(key, content)

    def change(self, how: Callable[[dict[str, Any] | None], dict[str, Any]]) -> dict[str, Any]:
        """Change the state by a function of the present one, again for each change of another worker's meanwhile."""
        while True:
            with _explained("change a run", self.location):
                before = self._bucket.read("state.json")
                after = how(json.loads(before.content) if before else None)
                if self._bucket.swap("state.json", canonical_json(after), before.version if before else None):
                    return after

    def put_tree(self, root: Path) -> None:
        """Write metrics and reports."""
        for path in (found for name in _REPORTS for found in [root / name, *(root / name).rglob("*")]):
            if path.is_file():
                self.put(f"reports/{path.relative_to(root).as_posix()}", path.read_bytes())

    def get_tree(self, root: Path) -> None:
        """Read metrics and reports into a workspace."""
        with _explained("list a run", self.location):
            names = list(self._bucket.list("reports"))
        for name in names:
            content = self.get(f"reports/{name}")
            if content is not None:
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                write_atomically(root / name, content)


def of(workspace: Workspace) -> Shared | None:
    """Return the place of a run in BULKHEAD_RUNS; None without that variable.

    Raises:
        ConfigurationError: it is no bucket.
    """
    location = os.environ.get(VARIABLE)
    if not location:
        return None
    if location.partition("://")[0] not in PROVIDERS:
        names = ", ".join(f"{name}://" for name in PROVIDERS)
        raise ConfigurationError(f"{VARIABLE} is {location!r}; give bucket/prefix after one of {names}")
    return Shared(location.rstrip("/"), workspace)


def open_run(
    workspace: Workspace, *, through: str | None, like: Workspace | None, again: Sequence[str] = (), now: str | None
) -> State:
    """Open a run, here or, if it is open already, as another worker has opened it."""
    shared = of(workspace)
    if shared is None:
        return local.open_workspace(workspace, through=through, like=like, again=again, now=now)
    _require_remote(workspace.project)
    if like:
        _fetch_record(like)
    _remove_closed(workspace)
    known = shared.read()
    if known is None or known["closed"]:
        with workspace.guard():
            if workspace.path.exists():
                local.remove(workspace.path)
        state = local.open_workspace(workspace, through=through, like=like, again=again, now=now, alone=False)
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
        local.remove(workspace.path)
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
        return local.record(workspace)
    with workspace.guard():
        if join(workspace):
            pull(workspace)
        entry = local.record(workspace) | {"reports": f"{shared.location}/{workspace.name}/reports"}
        shared.put("dvc.lock", workspace.recorded_lock.read_bytes())
        shared.put("record.json", canonical_json(entry))
    return entry


def close_run(workspace: Workspace, *, keep: bool = True) -> str:
    """Close a run, whose workspaces other workers then remove; return a summary."""
    shared = of(workspace)
    known = shared.read() if shared else None
    if shared is None or known is None:
        return local.close_workspace(workspace, keep=keep)
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
    for other in local.open_workspaces(workspace.project, workspace.var):
        shared = of(other)
        known = shared.read() if shared else None
        if known and known["closed"] and not other.is_busy:
            local.remove(other.path)


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
    local.make(workspace, known["commit"], known["through"], like=like, again=known["again"])
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


@contextmanager
def _explained(doing: str, location: str) -> Iterator[None]:
    try:
        yield
    except BulkheadError:
        raise
    except Exception as error:
        raise failure(error, f"cannot {doing} in {VARIABLE}={location}", reason(error), "used") from error
