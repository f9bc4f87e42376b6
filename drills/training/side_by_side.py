"""The drill of runs side by side: sixteen months at once, as the tasks of the DAGs run them, then sixteen publications at one moment."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field

import psutil

from contract.errors import EXIT_RETRY
from contract.store.store import Store
from drills.results import Result
from drills.training import orders
from harness.workspaces import CommandFailedError, Workspace
from pipelines.runs.holding import MARK
from pipelines.runs.workspaces.workspace import Workspace as RunWorkspace

_STEPS = (("repro", "validate"), ("repro", "evaluate"), ("repro", "bundle"), ("record",))
_FINAL, _RETRIES = (64, 65, 78), 2  # of the DAGs' tasks
_PUBLISH = ["-m", "pipelines", "publish"]
_POLL_S, _LIMIT_S = 0.1, 900.0


@dataclass
class Run:
    """One run.

    Attributes:
        again: what attempts said that failed and were tried again.
        failed: what the last attempt said; empty if it went well.
    """

    project: Workspace
    month: str
    again: list[str] = field(default_factory=list)
    failed: str = ""

    @property
    def workspace(self) -> RunWorkspace:
        """Its workspace."""
        return RunWorkspace(self.project.path, self.project.path / "var", f"side-by-side-{self.month}")

    def start(self, verb: str, *arguments: str) -> subprocess.Popen[str]:
        """Start a command of the run, as a task does."""
        command = [sys.executable, "-m", "pipelines.runs", verb, "--run", self.workspace.run, *arguments]
        return subprocess.Popen(
            command,
            cwd=self.project.path,
            env=self.project.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def work(self) -> None:
        """Do what the tasks before the publication do; what failed is tried again where a task would be."""
        for step in (("open", "--through", self.month), *_STEPS):
            for attempt in range(_RETRIES + 1):
                process = self.start(*step)
                said = process.communicate(timeout=_LIMIT_S)[0]
                if process.returncode == 0:
                    break
                report = f"{' '.join(step)} ended with {process.returncode}: …{said[-500:]}"
                if process.returncode in _FINAL or attempt == _RETRIES:
                    self.failed = report
                    return
                self.again.append(report)

    def digests(self) -> Mapping[str, str]:
        """Return digest by path of what the run made."""
        return self.project.outputs(self.workspace.recorded_lock)


def run_all(project: Workspace, months: Sequence[str]) -> list[Run]:
    """Run these months at once, up to their bundles."""
    runs = [Run(project, month) for month in months]
    with ThreadPoolExecutor(len(runs)) as threads:
        list(threads.map(Run.work, runs))
    for run in runs:
        for said in run.again:
            print(f"{run.month}, tried again: {said}")
        if run.failed:
            print(f"{run.month}, FAILED: {run.failed}")
    return runs


def publish_all(runs: Sequence[Run]) -> dict[str, tuple[int, str]]:
    """Publish all bundles at one moment; return exit code and words by month.

    Each publication is stopped while it rehearses its bundle, when it has read the channel that it will move. All go on when all are there.

    Raises:
        CommandFailedError: one ended before it rehearsed.
    """
    publishing = {run.month: run.start("exec", "--", "python", *_PUBLISH) for run in runs}
    stopped: dict[str, psutil.Process] = {}
    deadline = time.monotonic() + _LIMIT_S
    while len(stopped) < len(runs):
        for month, found in _rehearsing(runs):
            if month not in stopped:
                found.suspend()
                stopped[month] = found
        for month, process in publishing.items():
            if process.poll() is not None or time.monotonic() > deadline:
                raise CommandFailedError(f"the publication of {month} did not wait: {process.communicate()[0]}")
        time.sleep(_POLL_S)
    for waiting in stopped.values():
        waiting.resume()
    said = {month: process.communicate(timeout=_LIMIT_S)[0] for month, process in publishing.items()}
    return {month: (process.returncode, said[month]) for month, process in publishing.items()}


def side_by_side(months: Sequence[str]) -> tuple[list[Result], dict[str, Mapping[str, str]]]:
    """Run the drill with these months; return its results, and the digests by path of each month's run."""
    project = orders.project("side-by-side")
    runs = run_all(project, months)
    failed = [run.month for run in runs if run.failed]
    print(f"{len(runs)} runs at once, {sum(len(run.again) for run in runs)} attempts tried again, failed: {failed}")
    results = [
        Result(9, "runs at once", f"{len(runs)} months", len(runs), len(failed), "all finish", not failed),
    ]
    if not failed:
        results.append(_publications(project, runs))
    return results, {run.month: run.digests() for run in runs if not run.failed}


def _publications(project: Workspace, runs: Sequence[Run]) -> Result:
    ended = publish_all(runs)
    won = [month for month, (code, _) in ended.items() if code == 0]
    told = [month for month, (code, said) in ended.items() if code == EXIT_RETRY and "moved by somebody else" in said]
    store = Store(str(project.path / "store"))
    channel = store.read("candidate")
    print(f"published: {won}; told that another was faster: {len(told)}; in the store: {len(store.digests())}")
    for month in sorted(set(ended) - {*won, *told}):
        print(f"{month} ended with {ended[month][0]}: …{ended[month][1][-500:]}")
    # One move of the channel, to a whole bundle: no move was lost.
    held = len(won) == 1 and len(told) == len(runs) - 1 and channel is not None and channel.generation == 1
    if channel is not None:
        store.path(channel.digest)
    wrong = len(runs) - 1 - len(told) + abs(len(won) - 1)
    told_all = "one wins, and the others say so"
    return Result(9, "publications at one moment", f"{len(runs)} publications", len(runs), wrong, told_all, held)


def _rehearsing(runs: Sequence[Run]) -> Iterator[tuple[str, psutil.Process]]:
    """Yield month and process of the publications that have begun their rehearsal, a child of theirs."""
    months = {str(run.workspace.guard_file): run.month for run in runs}
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.cmdline()[-3:] == _PUBLISH and process.children():
                month = months.get(process.environ().get(MARK, ""))
                if month is not None:
                    yield month, process
