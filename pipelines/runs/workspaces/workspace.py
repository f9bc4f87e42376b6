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
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from contract.errors import ConfigurationError
from contract.files import canonical_json, write_atomically
from pipelines.runs.holding import held
from pipelines.runs.months import recollected

_UNSAFE = re.compile(r"[^A-Za-z0-9._-]+")
_LONGEST = 120
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
            return read_state(self.path)
        except FileNotFoundError:
            raise ConfigurationError(
                f"run {self.run!r} has no workspace in {self.path}; open it with `python -m pipelines.runs open`, or name one of "
                "`python -m pipelines.runs list`"
            ) from None

    def mark(self, failed: str | None) -> None:
        """Record the command that failed, or that none did."""
        write_state(self.path, replace(self.state(), failed=failed))

    def collected_again(self) -> None:
        """Record that the months of `State.again` were collected again, for this run and for all later ones."""
        state = self.state()
        for month in state.again:
            recollected.record(self.var, month)
        write_state(self.path, replace(state, again=()))

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


def open_workspaces(project: Path, var: Path) -> dict[Workspace, State]:
    """Return all workspaces on disk with their states, the oldest first; those that other tasks remove meanwhile are left out."""
    found: list[tuple[float, State]] = []
    for path in (var / "runs").glob(f"[!.]*/{_STATE}"):
        with suppress(FileNotFoundError):
            found.append((path.stat().st_mtime, read_state(path.parents[1])))
    found.sort(key=lambda entry: entry[0])
    return {Workspace(project, var, state.run): state for _, state in found}


def read_state(checkout: Path) -> State:
    """Return the state of an open workspace.

    Raises:
        FileNotFoundError: it is not open.
        ConfigurationError: the file is broken.
    """
    path = checkout / _STATE
    try:
        raw = json.loads(path.read_bytes())
        return State(raw["run"], raw["commit"], tuple(raw["months"]), raw["failed"], tuple(raw.get("again", ())))
    except (ValueError, LookupError, TypeError) as error:
        raise ConfigurationError(
            f"{path} is broken ({error!r}): remove the workspace {checkout}, and open its run again"
        ) from error


def write_state(checkout: Path, state: State) -> None:
    """Write the state of a workspace, which is open from then on."""
    write_atomically(checkout / _STATE, canonical_json(asdict(state)))


def remove(path: Path) -> None:
    """Remove a workspace; for other processes it is gone in one step."""
    doomed = path.with_name(f".doomed-{uuid.uuid4().hex}")
    try:
        path.rename(doomed)
    except FileNotFoundError:  # another task has just done it
        return
    shutil.rmtree(doomed)
