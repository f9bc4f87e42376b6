"""A run's workspace: a clone that shares only git objects and the DVC cache with the project.

<var>/runs/<run>/                     the checkout during the run; kept if it failed
<var>/runs/.guards/<run>              the lock of the workspace
<var>/runs/.again/<month>             a month that a run has collected again, since rows came late
<var>/runs/locks/<run>.dvc.lock       digests of the run's results
<var>/runs/locks/<run>.json           its commit, months, and the place of its reports
<var>/runs/reports/<run>/             its metrics and reports, for people
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import re
import shutil
import subprocess
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from contract.errors import ConfigurationError
from contract.files import canonical_json, private_directory, sha256, write_atomically
from pipelines.runs import months
from pipelines.runs.holding import held
from pipelines.runs.months import recollected
from pipelines.runs.stages import earlier

KEPT_FAILED = 5
_SHOWN = 5
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_LONGEST = 120
_SITE = ".dvc/tmp/site"
_STATE = ".git/run.json"  # in .git, where no stage and no `git status` sees it


@dataclass(frozen=True)
class State:
    """The state of an open workspace.

    Attributes:
        failed: the command that failed last, or None.
        again: months yet to be collected again.
    """

    run: str
    commit: str
    months: tuple[str, ...]
    failed: str | None = None
    again: tuple[str, ...] = ()


@dataclass(frozen=True)
class Workspace:
    """The paths of one run."""

    project: Path
    var: Path
    run: str

    @property
    def name(self) -> str:
        """The run's name as a file name."""
        return safe_name(self.run)

    @property
    def path(self) -> Path:
        """The checkout."""
        return self.var / "runs" / self.name

    @property
    def recorded_lock(self) -> Path:
        """The run's `dvc.lock`, kept after it."""
        return self.var / "runs" / "locks" / f"{self.name}.dvc.lock"

    @property
    def record(self) -> Path:
        """The run's record in JSON, kept after it."""
        return self.recorded_lock.with_name(f"{self.name}.json")

    @property
    def reports(self) -> Path:
        """The directory of the run's metrics and reports, kept after it."""
        return self.var / "runs" / "reports" / self.name

    def state(self) -> State:
        """Return the workspace's state.

        Raises:
            ConfigurationError: it is not open, or the file is broken.
        """
        try:
            return _read_state(self.path / _STATE)
        except FileNotFoundError:
            raise ConfigurationError(
                f"run {self.run!r} has no workspace in {self.path}; open it with `python -m pipelines.runs open`, or name one of "
                "`python -m pipelines.runs list`"
            ) from None

    def mark(self, failed: str | None) -> None:
        """Record the command that failed, or that none did."""
        _write_state(self.path, replace(self.state(), failed=failed))

    def collected_again(self) -> None:
        """Record that the months of `State.again` were collected again, for this run and for all later ones."""
        state = self.state()
        for month in state.again:
            recollected.record(self.var, month)
        _write_state(self.path, replace(state, again=()))

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Lock the workspace, so that two attempts of one task never mix their files; a frozen attempt is ended."""
        with held(self.guard_file):
            yield

    @property
    def is_busy(self) -> bool:
        """True while a command runs in this workspace."""
        with self.kept_idle() as idle:
            return not idle

    @contextmanager
    def kept_idle(self) -> Iterator[bool]:
        """Tell whether no command runs in this workspace; then none begins until the block ends."""
        self.guard_file.parent.mkdir(parents=True, exist_ok=True)
        with self.guard_file.open("a") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
                idle = True
            except BlockingIOError:
                idle = False
            yield idle

    @property
    def guard_file(self) -> Path:
        """The lock of the workspace."""
        return self.var / "runs" / ".guards" / self.name


def safe_name(run: str) -> str:
    """Return a run's name as a file name; an unsafe one is replaced and gets a digest, to stay unique."""
    name = _UNSAFE.sub("-", run).strip("-.")[:_LONGEST]
    return name if name == run else f"{name}-{hashlib.sha256(run.encode()).hexdigest()[:8]}"


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
        _write_state(incoming, state)
        incoming.rename(workspace.path)
    finally:
        shutil.rmtree(incoming, ignore_errors=True)
    return state


def _nearest(workspace: Workspace, commit: str, last: str) -> Workspace | None:
    """Return the recorded run with whose results this one begins, so that DVC need not look for them stage by stage."""
    name = earlier.nearest(workspace.record.parent, workspace.name.partition(".")[0], commit, last)
    return replace(workspace, run=name) if name else None


def record(workspace: Workspace) -> dict[str, str]:
    """Keep the run's `dvc.lock`, origin, metrics and reports, and return the record."""
    state = workspace.state()
    lock = workspace.path / "dvc.lock"
    if not lock.is_file():
        raise ConfigurationError(f"run {workspace.run!r} has produced nothing yet: {lock} is missing")
    write_atomically(workspace.recorded_lock, lock.read_bytes())
    _copy_reports(workspace.path, workspace.reports)
    entry = {
        "run": workspace.name,
        "commit": state.commit,
        "through": state.months[-1],
        "lock_sha256": sha256(workspace.recorded_lock),
        "reports": workspace.reports.as_uri(),
    }
    write_atomically(workspace.record, canonical_json(entry))
    return entry


def read_record(workspace: Workspace) -> dict[str, str]:
    """Return the record of a run.

    Raises:
        ConfigurationError: there is none, or it is broken.
    """
    try:
        entry: dict[str, str] = json.loads(workspace.record.read_bytes())
        if not {"commit", "through"} <= entry.keys():
            raise ValueError("no commit or no month")
    except FileNotFoundError:
        raise ConfigurationError(
            f"run {workspace.run!r} left no record in {workspace.record.parent}; {_recorded(workspace)}"
        ) from None
    except (ValueError, AttributeError) as error:
        raise ConfigurationError(
            f"{workspace.record} is broken ({error!r}): remove it, and name another run"
        ) from error
    return entry


def _recorded(workspace: Workspace) -> str:
    """Return the advice to name a recorded run, with the newest ones."""
    records = workspace.record.parent.glob("*.json")
    newest = sorted(records, key=lambda path: path.stat().st_mtime, reverse=True)[:_SHOWN]
    if not newest:
        return "no run is recorded yet: leave the run out to use the last commit"
    return f"name one of those that did, the newest first: {', '.join(path.stem for path in newest)}"


def close_workspace(workspace: Workspace, *, keep: bool = True) -> str:
    """Record and remove a workspace, or keep it as evidence if its last command failed; return a summary.

    Args:
        keep: false for a dry run, which leaves no record.
    """
    with workspace.guard():
        if not workspace.path.exists():
            return f"{workspace.name} is closed already"
        failed = workspace.state().failed
        if failed:
            remove_oldest_failed(workspace)
            return f"{workspace.name} failed in {failed}; its workspace is kept as evidence: {workspace.path}"
        if keep and (workspace.path / "dvc.lock").is_file():
            record(workspace)
        remove(workspace.path)
    if not keep:
        return f"{workspace.name} is closed; a dry run leaves no record"
    return f"{workspace.name} is closed; the digests of its results are in {workspace.recorded_lock}"


def open_workspaces(project: Path, var: Path) -> dict[Workspace, State]:
    """Return all workspaces on disk with their states, the oldest first; those that other tasks remove meanwhile are left out."""
    found: list[tuple[float, State]] = []
    for path in (var / "runs").glob(f"[!.]*/{_STATE}"):
        with suppress(FileNotFoundError):
            found.append((path.stat().st_mtime, _read_state(path)))
    found.sort(key=lambda entry: entry[0])
    return {Workspace(project, var, state.run): state for _, state in found}


def uncommitted(project: Path) -> list[str]:
    """Return changed files, and new ones that git does not ignore; a run, which starts from a commit, does not see them."""
    new = _git(project, "ls-files", "--others", "--exclude-standard", "--directory", "--no-empty-directory")
    return [*_git(project, "diff", "--name-only", "HEAD").splitlines(), *new.splitlines()]


def remove_oldest_failed(like: Workspace, keep: int = KEPT_FAILED) -> None:
    """Remove all but the newest failed workspaces; busy ones stay."""
    found = open_workspaces(like.project, like.var)
    # A busy workspace is marked as failed until its command succeeds.
    failed = [workspace for workspace, state in found.items() if state.failed and not workspace.is_busy]
    for workspace in failed[: max(0, len(failed) - keep)]:
        # Since then a task that was cleared may have begun or succeeded there, or another run's `close` have removed it.
        with workspace.kept_idle() as idle, suppress(FileNotFoundError):
            if idle and _read_state(workspace.path / _STATE).failed:
                remove(workspace.path)


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


def _copy_reports(checkout: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    bundle = (f"build/bundle/{name}" for name in ("manifest.json", "sbom.cdx.json", "provenance.intoto.json"))
    for name in ("metrics.json", "reports", *bundle):
        source = checkout / name
        if source.is_dir():
            shutil.copytree(source, target / name)
        elif source.is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target / name)


def _read_state(path: Path) -> State:
    try:
        raw = json.loads(path.read_bytes())
        return State(raw["run"], raw["commit"], tuple(raw["months"]), raw["failed"], tuple(raw.get("again", ())))
    except (ValueError, LookupError, TypeError) as error:
        raise ConfigurationError(
            f"{path} is broken ({error!r}): remove the workspace {path.parents[1]}, and open its run again"
        ) from error


def _write_state(checkout: Path, state: State) -> None:
    write_atomically(checkout / _STATE, canonical_json(asdict(state)))


def remove(path: Path) -> None:
    """Remove a workspace; for other processes it is gone in one step."""
    doomed = path.with_name(f".doomed-{uuid.uuid4().hex}")
    try:
        path.rename(doomed)
    except FileNotFoundError:  # another task has just done it
        return
    shutil.rmtree(doomed)
