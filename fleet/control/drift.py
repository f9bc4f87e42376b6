"""The drift of a fleet: what is other than it should be, found by looking, without the fleet's lock."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from contract.errors import ConfigurationError
from fleet.configuration import declaration
from fleet.configuration.changes import Cause
from fleet.configuration.settings import Settings
from fleet.configuration.state import State
from fleet.control.program import NAME
from fleet.envoy import balancer
from fleet.envoy.proxy import NUMBERS, Proxy
from fleet.monitoring import shadow
from fleet.monitoring.page import program as page
from fleet.supervisor import unix_http
from fleet.supervisor.supervision import ProcessState

_SICK_S = 10.0  # by then a replica that was killed, or is slow to start, is well again


@dataclass
class Drift:
    """What was seen of a fleet; half-done changes of a command that runs look like drift, so a cause counts when it is seen twice."""

    settings: Settings
    proxy: Proxy
    content: bytes | None = None
    fulfilled: tuple[bytes | None, State] | None = None
    last: tuple[Cause | None, Cause | None] = (None, None)
    well_at: dict[str, float] = field(default_factory=dict)

    def found(
        self, state: State, live: str | None, programs: Mapping[str, ProcessState]
    ) -> tuple[Cause | None, Cause | None]:
        """Return why the fleet must be repaired, and why it must be changed; None for what is as it should be.

        Args:
            live: the bundle of the store's channel, as last read.
        """
        declared = self._declared(state)
        seen = self._left(state, programs) or self._sick(state), self._moved(state, live)
        repair, change = (cause if cause == before else None for cause, before in zip(seen, self.last, strict=True))
        self.last = seen
        # A file that has stayed the same was seen twice already.
        return repair, declared or change

    def _declared(self, state: State) -> Cause | None:
        """Compare `fleet.yaml`; an editor may have written only half of it, so it counts once it has stayed the same for a look."""
        path = self.settings.declaration
        try:
            before, self.content = self.content, path.read_bytes() if path.exists() else None
            if self.content != before or self.fulfilled == (self.content, state):
                return None
            if self.content is not None and declaration.parse(self.content, path).is_fulfilled_by(state):
                self.fulfilled = (self.content, state)
                return None
        except ConfigurationError as error:
            return Cause(self._editor(), str(error))
        except OSError as error:
            return Cause(NAME, f"{path} cannot be read ({error.strerror})")
        if self.content is None:
            return Cause(NAME, f"{path.name} is gone: writing it again")
        return Cause(self._editor(), f"{path.name} was edited, or a command was killed")

    def _editor(self) -> str:
        try:
            return self.settings.declaration.owner()
        except (OSError, KeyError):
            return NAME

    def _moved(self, state: State, live: str | None) -> Cause | None:
        if live in (None, state.live):
            return None
        return Cause(NAME, f"the store's live bundle is {str(live)[:12]}")

    def _left(self, state: State, programs: Mapping[str, ProcessState]) -> Cause | None:
        """Find what a killed command left, or a killed supervisord."""
        known = {replica.name for replica in state.replicas}
        envoys = {name for name in programs if name.startswith(balancer.PREFIX)}
        expected = {NAME, page.NAME} | ({shadow.NAME} if state.shadow else set())
        if gone := (known | expected) - set(programs):
            return Cause(NAME, f"nothing would restart {', '.join(sorted(gone))}")
        if left := set(programs) - known - envoys - expected:
            return Cause(NAME, f"{', '.join(sorted(left))} is left of a killed command")
        if sorted(map(str, map(balancer.number_of, envoys))) != sorted(map(str, NUMBERS)):
            return Cause(NAME, f"{', '.join(sorted(envoys)) or 'no Envoy'} instead of {len(NUMBERS)} Envoys")
        if state.missing or state.surplus:
            return Cause(NAME, f"{sum(state.counts.values())} replicas are wanted, {len(state.replicas)} run")
        try:
            return None if self.proxy.routes(state) else Cause(NAME, "Envoy's routes are stale")
        except (*unix_http.FAILURES, ValueError):
            return None  # it starts, or hangs and is killed

    def _sick(self, state: State) -> Cause | None:
        """Find replicas that Envoy has sent no requests for some time."""
        now = time.monotonic()
        try:
            hosts = self.proxy.hosts()
        except (*unix_http.FAILURES, ValueError):
            hosts = None
        for replica in state.replicas:
            is_well = hosts is None or all(each and each.gets_requests for each in self.proxy.of(replica, hosts))
            if is_well or replica.name not in self.well_at:
                self.well_at[replica.name] = now
        self.well_at = {replica.name: self.well_at[replica.name] for replica in state.replicas}
        sick = [name for name, well_at in self.well_at.items() if now - well_at > _SICK_S]
        return Cause(NAME, f"{', '.join(sick)} gets no requests for {_SICK_S:g} s") if sick else None
