"""A run's workspace: a clone of the project that shares git objects and the DVC cache with it, and nothing else.

<var>/runs/<run>/                     the checkout, while the run lasts; kept when the run failed
<var>/runs/.guards/<run>              held by whoever works in the workspace
<var>/runs/locks/<run>.dvc.lock       what a run produced, digest by digest
<var>/runs/locks/<run>.json           from which commit, months, and where the reports are
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
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from contract.errors import ConfigurationError
from contract.files import canonical_json, private_directory, sha256, write_atomically
from pipelines.runs import months

KEPT_FAILED = 5
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_LONGEST = 120
_SITE = ".dvc/tmp/site"
_STATE = ".git/run.json"  # inside of .git: no command of a stage looks there, and no `git status` shows it


@dataclass(frozen=True)
class State:
    """What is known about an open workspace. `failed` names what failed last; None when nothing did."""

    run: str
    commit: str
    months: tuple[str, ...]
    failed: str | None = None


@dataclass(frozen=True)
class Workspace:
    """Where the parts of one run lie."""

    project: Path
    var: Path
    run: str

    @property
    def name(self) -> str:
        return safe_name(self.run)

    @property
    def path(self) -> Path:
        return self.var / "runs" / self.name

    @property
    def recorded_lock(self) -> Path:
        return self.var / "runs" / "locks" / f"{self.name}.dvc.lock"

    @property
    def record(self) -> Path:
        return self.recorded_lock.with_name(f"{self.name}.json")

    @property
    def reports(self) -> Path:
        return self.var / "runs" / "reports" / self.name

    def state(self) -> State:
        """The workspace's state.

        Raises:
            ConfigurationError: it is not open.
        """
        try:
            raw = json.loads((self.path / _STATE).read_bytes())
        except FileNotFoundError:
            raise ConfigurationError(f"run {self.run!r} has no workspace in {self.path}; open it first") from None
        return State(raw["run"], raw["commit"], tuple(raw["months"]), raw["failed"])

    def mark(self, failed: str | None) -> None:
        _write_state(self.path, replace(self.state(), failed=failed))

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Wait until nobody else works in this workspace; two attempts of one task must never mix their files."""
        self._guard.parent.mkdir(parents=True, exist_ok=True)
        with self._guard.open("w") as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield

    @property
    def is_busy(self) -> bool:
        """Whether somebody works in this workspace now."""
        try:
            with self._guard.open() as stream:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    @property
    def _guard(self) -> Path:
        return self.var / "runs" / ".guards" / self.name


def safe_name(run: str) -> str:
    """A run's name as one file name: unchanged if it is one, else made safe, with a digest that keeps two runs apart."""
    name = _UNSAFE.sub("-", run).strip("-.")[:_LONGEST]
    return name if name == run else f"{name}-{hashlib.sha256(run.encode()).hexdigest()[:8]}"


def open_workspace(
    workspace: Workspace, *, through: str | None = None, like: Workspace | None = None, now: str | None = None
) -> State:
    """Make the workspace from the project's last commit, or find it again as it was left.

    Args:
        through: the last month to work on; as `params.yaml` lists them by default.
        like: a recorded run whose commit, months and results to begin with.
        now: the month under way, which is not over and so cannot be worked on; None where nobody asks for the time.

    Raises:
        ConfigurationError: there is no such month or commit, or a month is not over.
    """
    with workspace.guard():
        if workspace.path.exists():
            return workspace.state()
        record = read_record(like) if like else None
        incoming = workspace.path.with_name(f".incoming-{uuid.uuid4().hex}")
        try:
            commit = _clone(workspace.project, incoming, record["commit"] if record else "HEAD")
            _share_cache(workspace, incoming)
            params = incoming / "params.yaml"
            last = through or (record["through"] if record else None)
            listed = months.cut(params, last) if last else months.read(params)
            months.refuse_unfinished(listed, now)
            if like:
                shutil.copyfile(like.recorded_lock, incoming / "dvc.lock")
            state = State(workspace.run, commit, tuple(listed))
            _write_state(incoming, state)
            incoming.rename(workspace.path)
        finally:
            shutil.rmtree(incoming, ignore_errors=True)
    return state


def record(workspace: Workspace) -> dict[str, str]:
    """Keep what the run produced: its `dvc.lock`, where it came from, its metrics and reports. Returns the record."""
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
    try:
        entry: dict[str, str] = json.loads(workspace.record.read_bytes())
    except FileNotFoundError:
        raise ConfigurationError(f"run {workspace.run!r} left no record in {workspace.record.parent}") from None
    return entry


def close_workspace(workspace: Workspace) -> str:
    """Record and remove a workspace whose last command succeeded; keep a failed one as evidence. Returns what was done."""
    with workspace.guard():
        if not workspace.path.exists():
            return f"{workspace.name} is closed already"
        failed = workspace.state().failed
        if failed:
            remove_oldest_failed(workspace)
            return f"{workspace.name} failed in {failed}; its workspace is kept as evidence: {workspace.path}"
        if (workspace.path / "dvc.lock").is_file():
            record(workspace)
        _remove(workspace.path)
    return f"{workspace.name} is closed; what it produced is named in {workspace.recorded_lock}"


def open_workspaces(project: Path, var: Path) -> list[Workspace]:
    """All workspaces on disk, oldest first."""
    states = sorted((var / "runs").glob(f"[!.]*/{_STATE}"), key=lambda path: path.stat().st_mtime)
    return [Workspace(project, var, json.loads(path.read_bytes())["run"]) for path in states]


def uncommitted(project: Path) -> list[str]:
    """List the changed files, and the new ones that git does not ignore: no run will see them, for it begins with a commit."""
    new = _git(project, "ls-files", "--others", "--exclude-standard", "--directory", "--no-empty-directory")
    return [*_git(project, "diff", "--name-only", "HEAD").splitlines(), *new.splitlines()]


def remove_oldest_failed(like: Workspace, keep: int = KEPT_FAILED) -> None:
    """Remove all but the newest failed workspaces; those of runs that go on stay."""
    # One in which a command runs is marked as failed until the command has succeeded.
    idle = [workspace for workspace in open_workspaces(like.project, like.var) if not workspace.is_busy]
    failed = [workspace for workspace in idle if workspace.state().failed]
    for workspace in failed[: max(0, len(failed) - keep)]:
        _remove(workspace.path)


def _clone(project: Path, target: Path, revision: str) -> str:
    """A clone that borrows the project's objects. It shares no index, no refs and no lock with it, unlike a worktree."""
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
    """One cache for all runs: what one has computed, the others restore. Links, so that a table exists once on disk."""
    lines = (
        "[core]",
        "    analytics = false",
        f'    site_cache_dir = "{workspace.path / _SITE}"',  # or a comma makes a list of it
        "[cache]",
        f'    dir = "{workspace.project / ".dvc" / "cache"}"',
        '    type = "reflink,hardlink,symlink"',
    )
    write_atomically(checkout / ".dvc" / "config.local", ("\n".join(lines) + "\n").encode())
    private_directory(checkout / _SITE / "repo")  # which DVC would make for everybody to write to, parents too


def _copy_reports(checkout: Path, target: Path) -> None:
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for name in ("metrics.json", "reports"):
        source = checkout / name
        if source.is_dir():
            shutil.copytree(source, target / name)
        elif source.is_file():
            shutil.copyfile(source, target / name)


def _write_state(checkout: Path, state: State) -> None:
    write_atomically(checkout / _STATE, canonical_json(asdict(state)))


def _remove(path: Path) -> None:
    doomed = path.with_name(f".doomed-{uuid.uuid4().hex}")
    path.rename(doomed)
    shutil.rmtree(doomed)
