"""Attempts of a run of the pipeline in a project of its own, and kill -9 to what works in them."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import psutil

from contract.bundle import manifest
from contract.files import private_directory
from harness import workspaces
from pipelines.runs.holding import MARK
from pipelines.runs.workspaces.workspace import Workspace

_COUNTING = Path(__file__).with_name("counting")
_POLL_S = 0.02
_LIMIT_S = 300.0


@dataclass(frozen=True)
class Outcome:
    """The results of a complete run.

    Attributes:
        outputs: digest by path of every output, and of the bundle.
        rounds: of boosting that were begun for it, repeated ones too.
    """

    outputs: Mapping[str, str]
    rounds: int


class Runs:
    """Runs in a copy of the project, one after another, each from nothing."""

    def __init__(self, name: str, changes: Mapping[str, Mapping[str, Any]]) -> None:
        self._project = workspaces.empty(name, changes)
        self._rounds, self._aside, self._output = (
            self._project.path / "var" / name for name in ("rounds", "aside", "output")
        )
        self._count = 0
        private_directory(self._project.path / "var")

    def begin(self, *, with_results: bool = False) -> None:
        """Begin a new run; nothing that an earlier one has made is left to it, or only the results that were put aside."""
        for made in (".dvc/cache", "var/checkpoints", "var/quarantine"):
            shutil.rmtree(self._project.path / made, ignore_errors=True)
        if with_results:
            shutil.copytree(self._aside, self._project.path / ".dvc" / "cache")
        self._rounds.unlink(missing_ok=True)
        self._count += 1
        opening = Attempt(self._start("open"), str(self._run.guard_file), self._output)
        if opening.wait():
            raise opening.failure("`pipelines.runs open`")

    def put_aside(self) -> None:
        """Put the results of the present run aside, as DVC keeps them."""
        shutil.copytree(self._project.path / ".dvc" / "cache", self._aside)

    def attempt(self, *stages: str, clock: Sequence[str] = ()) -> Attempt:
        """Start an attempt to complete these stages; `clock` is a command before it, such as `faketime`."""
        return Attempt(self._start("repro", *stages, before=clock), str(self._run.guard_file), self._output)

    def outcome(self) -> Outcome:
        """Return the results of the present run, which is complete."""
        outputs = self._project.outputs(self._run.path / "dvc.lock")
        bundle = self._run.path / "build" / "bundle"
        if bundle.is_dir():
            outputs["digest of the bundle"] = manifest.digest_of(bundle)
        return Outcome(outputs, self.rounds())

    def rounds(self) -> int:
        """Return the rounds of boosting that were begun in the present run."""
        return self._rounds.stat().st_size if self._rounds.exists() else 0

    @property
    def _run(self) -> Workspace:
        return Workspace(self._project.path, self._project.path / "var", f"run-{self._count}")

    def _start(self, verb: str, *stages: str, before: Sequence[str] = ()) -> subprocess.Popen[bytes]:
        environment = self._project.environment | {
            "PYTHONPATH": str(_COUNTING),
            "PYTHONDONTWRITEBYTECODE": "1",
            "DRILL_ROUNDS": str(self._rounds),
        }
        command = [*before, sys.executable, "-m", "pipelines.runs", verb, "--run", self._run.run, *stages]
        with self._output.open("wb") as output:
            return subprocess.Popen(
                command, cwd=self._project.path, env=environment, stdout=output, stderr=subprocess.STDOUT
            )


@dataclass(frozen=True)
class Attempt:
    """One attempt: a process, and all that it started; they write to the file `output`."""

    process: subprocess.Popen[bytes]
    lock: str
    output: Path

    def wait(self) -> int:
        """Return its exit code.

        Raises:
            CommandFailedError: it hangs.
        """
        try:
            return self.process.wait(_LIMIT_S)
        except subprocess.TimeoutExpired:
            raise self.failure(f"an attempt that has not ended within {_LIMIT_S:g} s") from None

    def failure(self, what: str) -> workspaces.CommandFailedError:
        """Return the error of a command that ended, or did not, with the end of its output."""
        said = self.output.read_text(errors="replace")[-3000:]
        return workspaces.CommandFailedError(f"{what} failed with {self.process.poll()}:\n{said}")

    def lasts(self, seconds: float) -> bool:
        """Wait, and return whether it is still at work."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(seconds)
        return self.process.poll() is None

    def reaches(self, stage: str) -> bool:
        """Wait for a stage to begin, and return whether it has; else the attempt is over."""
        deadline = time.monotonic() + _LIMIT_S
        while self.process.poll() is None and time.monotonic() < deadline:
            if self.is_in(stage):
                return True
            time.sleep(_POLL_S)
        return False

    def is_in(self, stage: str) -> bool:
        """Return whether a process of this stage is at work."""
        return any(_command(process)[-3:] == ["-m", "pipelines", stage] for process in self._started())

    def kill(self, random: Random) -> None:
        """Kill all of its processes, or one of them; whatever that leaves ends, or is ended by the next attempt."""
        processes = [psutil.Process(self.process.pid), *self._started()]
        for process in processes if random.random() < 0.5 else [random.choice(processes)]:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.wait()

    def _started(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.environ().get(MARK) == self.lock:
                    found.append(process)
        return found


def _command(process: psutil.Process) -> list[str]:
    with suppress(psutil.Error):
        command: list[str] = process.cmdline()
        return command
    return []
