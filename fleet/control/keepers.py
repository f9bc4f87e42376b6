"""The processes that keep a fleet: supervisord, the reconciler and the status page."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace

from fleet.configuration import state as fleet_state
from fleet.configuration.settings import Settings
from fleet.control.program import program as program_of
from fleet.isolation import weight
from fleet.monitoring.page import program as page
from fleet.supervisor import heartbeat
from fleet.supervisor.supervision import Supervisor

# Nothing else of the caller's environment reaches supervisord, and so the replicas: it may hold credentials.
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ")
_GUARD_LIMIT_S, _POLL_S = 10.0, 0.1


class Keepers:
    """The processes of a fleet that no bundle needs, started where they do not run."""

    def __init__(self, settings: Settings, supervisor: Supervisor, tell: Callable[[str], None]) -> None:
        self._settings, self._supervisor, self._tell = settings, supervisor, tell

    def start(self) -> None:
        """Start supervisord unless one runs and answers; programs of an earlier one serve until they are replaced."""
        if not self._supervisor.answers():
            heartbeat.begin(self._settings.root)
            environment = {name: os.environ[name] for name in _INHERITED if name in os.environ}
            self._supervisor.start(environment, program_of(self._settings), self.weighed())
            left = self._supervisor.strays()
            saved = fleet_state.load(self._settings.state)
            # Replicas of a killed supervisord may have outlived it; the others are gone for good.
            alive = tuple(replica for replica in saved.replicas if replica.name in left)
            fleet_state.save(self._settings.state, replace(saved, replicas=alive))
        self._ensure_reconciler()
        self.ensure_page()

    def weighed(self) -> list[str]:
        """Return the words before supervisord's command that give the fleet its weight."""
        if self._settings.weight is None:
            return []
        words, lacking = weight.within(self._settings.weight)
        if lacking:
            self._tell(f"the fleet has an equal share of the CPU in spite of BULKHEAD_FLEET_WEIGHT: {lacking}")
        return words

    def await_guard(self) -> None:
        """Wait until the reconciler has begun its work, so that the fleet is guarded when `up` ends."""
        supervisord, deadline = self._supervisor.process, time.monotonic() + _GUARD_LIMIT_S
        while supervisord and not self._supervisor.is_guarded(supervisord) and time.monotonic() < deadline:
            time.sleep(_POLL_S)

    def _ensure_reconciler(self) -> None:
        """Start the reconciler unless it runs and looks."""
        program = program_of(self._settings)
        if not self._supervisor.ensure(program):
            if heartbeat.looks(self._settings.root):
                return
            self._supervisor.kill(program.name)
        heartbeat.begin(self._settings.root)

    def ensure_page(self) -> None:
        """Start the status page, which keeps the ledger of costs too; the reconciler kills one that hangs."""
        self._supervisor.ensure(page.program(self._settings))
