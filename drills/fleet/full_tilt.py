"""Training at full tilt beside a fleet: processes that train without end, and one that writes memory; stopped but while they are wanted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence, Set
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from harness import PROJECT, processes
from harness.waiting import until
from pipelines.machine import contained

TRAINERS, _HOG_MB, _LIMIT_MB = 4, 1000, 4000
_BEGIN_LIMIT_S = 300  # under other load the least share may take long
MANAGED = {contained.WEIGHT: "idle", contained.MEMORY: str(_LIMIT_MB)}
UNMANAGED = {contained.WEIGHT: "none", contained.MEMORY: "none"}


@dataclass(frozen=True)
class Training:
    """Training processes, each with the file to which it adds a byte for each round of boosting, and the memory hog."""

    trainers: Sequence[subprocess.Popen[bytes]]
    rounds: Sequence[Path]
    hog: subprocess.Popen[bytes]

    def progress(self) -> tuple[int, float]:
        """Return the rounds of boosting and their CPU seconds so far."""
        used_s = sum(processes.cpu_seconds(trainer.pid) for trainer in self.trainers)
        return sum(file.stat().st_size for file in self.rounds), used_s

    @contextmanager
    def going(self) -> Iterator[None]:
        """Let them work during the block."""
        self._send(signal.SIGCONT)
        try:
            yield
        finally:
            self.stop()

    def stop(self) -> None:
        """Stop them until they are wanted."""
        self._send(signal.SIGSTOP)

    def _send(self, number: int) -> None:
        for process in (*self.trainers, self.hog):
            _send(process, number)


@contextmanager
def training(
    settings: Mapping[str, str], trainers: int = TRAINERS, hog_mb: int = _HOG_MB, cores: Set[int] | None = None
) -> Iterator[Training]:
    """Yield training, stopped, which ends with the block.

    Args:
        settings: `MANAGED` or `UNMANAGED`.
        cores: that it keeps to; None for all.
    """
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:

        def start(file: Path, *options: str) -> subprocess.Popen[bytes]:
            """Start a process that ends with the block."""
            command = [*taskset, sys.executable, "-m", "drills.training.endless", str(file), *options]
            # A session each: the kernel would share the time of one among all of them (sched(7), autogroup).
            process = subprocess.Popen(command, cwd=PROJECT, env=os.environ | settings, start_new_session=True)
            stack.callback(_end, process)
            return process

        taskset = ["taskset", "--cpu-list", ",".join(map(str, cores))] if cores else []
        rounds, hog = [Path(scratch, str(number)) for number in range(trainers)], Path(scratch, "hog")
        made = Training([start(file) for file in rounds], rounds, start(hog, "--hog", str(hog_mb)))
        until(lambda: all(map(_has_begun, (*rounds, hog))), "training to begin", limit_s=_BEGIN_LIMIT_S)
        made.stop()
        yield made


def _has_begun(file: Path) -> bool:
    return file.exists() and file.stat().st_size > 0


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)  # a guard passes it on, and removes the cgroup
    _send(process, signal.SIGCONT)
    process.wait()


def _send(process: subprocess.Popen[bytes], number: int) -> None:
    with suppress(ProcessLookupError):  # it has ended, at the memory limit for example
        os.killpg(process.pid, number)  # a stage and its guard
