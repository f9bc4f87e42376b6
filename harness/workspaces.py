"""Copies of the project for pipeline runs, each with a DVC cache and a bundle store of its own; and the costs of commands."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from contract.files import private_directory
from harness import PROJECT, files
from harness.slice import MONTHS

HOME = PROJECT / "var/bench"
TWO_MONTHS: Mapping[str, Mapping[str, Any]] = {  # as `harness.slice` has them
    "data": {"months": MONTHS},
    "split": {"validation": "10d"},
}


class CommandFailedError(Exception):
    """A timed command failed; with the end of its output."""


@dataclass(frozen=True)
class Cost:
    """The cost of a command: wall time, CPU time of it and of all that it waited for, and the largest resident memory of one of these."""

    wall_s: float
    cpu_s: float
    peak_mb: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.wall_s + other.wall_s, self.cpu_s + other.cpu_s, max(self.peak_mb, other.peak_mb))


def timed(command: Sequence[str], *, cwd: Path, env: Mapping[str, str]) -> tuple[Cost, str]:
    """Run a command to its end; return its cost and output.

    Raises:
        CommandFailedError: its exit code is not 0.
    """
    started = time.perf_counter()
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            command, cwd=cwd, env=dict(env), stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
        _, status, used = os.wait4(process.pid, 0)  # the resources of this child and its own children, alone
        process.returncode = os.waitstatus_to_exitcode(status)
        cost = Cost(time.perf_counter() - started, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)
        output.seek(0)
        said = output.read()
    if process.returncode:
        raise CommandFailedError(f"{' '.join(command)} ended with {process.returncode}:\n{said[-3000:]}")
    return cost, said


def environment() -> dict[str, str]:
    """Return an environment with this one's programs first, and without settings of this project, of DVC or of Airflow."""
    ours = ("BULKHEAD", "DVC", "AIRFLOW", "BENTOML", "PYTHON")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    programs = f"{Path(sys.executable).parent}{os.pathsep}{kept.get('PATH', os.defpath)}"
    # An equal share of the CPU, as their peers and the tests beside them have; the least one would starve on a busy machine.
    return kept | {
        "PATH": programs,
        "BENTOML_DO_NOT_TRACK": "true",
        "BULKHEAD_TRAINING_WEIGHT": "none",
        "OMP_WAIT_POLICY": "PASSIVE",  # as our stages set it: a peer whose threads spin would lose by that alone
    }


@dataclass(frozen=True)
class Workspace:
    """A copy of the project."""

    path: Path

    @property
    def environment(self) -> dict[str, str]:
        """The environment of commands there."""
        return environment() | {
            "BULKHEAD_STORE": str(self.path / "store"),
            "DVC_SITE_CACHE_DIR": str(self.path / "var/dvc-site"),
        }

    def run(self, *command: str) -> Cost:
        """Run a command there; return its cost."""
        return self.say(*command)[0]

    def say(self, *command: str) -> tuple[Cost, str]:
        """Run a command there; return its cost and output."""
        private_directory(self.path / "var/dvc-site/repo")  # which DVC would make world-writable
        return timed(command, cwd=self.path, env=self.environment)

    def outputs(self, lock: Path | None = None) -> dict[str, str]:
        """Return digest by path of every output in `dvc.lock`, or in a lock recorded elsewhere."""
        stages = yaml.safe_load((lock or self.path / "dvc.lock").read_text())["stages"]
        return {out["path"]: out["md5"] for stage in stages.values() for out in stage["outs"]}


def empty(name: str, changes: Mapping[str, Mapping[str, Any]] | None = None) -> Workspace:
    """Make a fresh copy, with no results and an empty cache."""
    shutil.rmtree(HOME / name, ignore_errors=True)
    return copied(name, changes)


def copied(name: str, changes: Mapping[str, Mapping[str, Any]] | None = None) -> Workspace:
    """Copy the working tree over the copy of this name, change some params, and commit."""
    workspace = Workspace(HOME / name)
    for file in files():
        if file != "dvc.lock":
            target = workspace.path / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(PROJECT / file, target)
    if changes:
        change(workspace.path / "params.yaml", changes)
    identity = ("-c", "user.name=bench", "-c", "user.email=bench@localhost")
    workspace.run("git", "init", "--quiet", "--initial-branch=main")
    workspace.run("git", "add", "--all")
    workspace.run("git", *identity, "commit", "--quiet", "--allow-empty", "--message=A copy for the benchmarks")
    return workspace


def change(path: Path, changes: Mapping[str, Mapping[str, Any]]) -> None:
    """Change some params of a file, by section."""
    params = yaml.safe_load(path.read_text())
    for section, values in changes.items():
        params[section] |= values
    path.write_text(yaml.safe_dump(params, sort_keys=False, allow_unicode=True))
