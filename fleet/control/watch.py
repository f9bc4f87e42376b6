"""The watch over processes that hang or fail: supervisord restarts those that end, but cannot see these."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from fleet.configuration.state import State, socket_of
from fleet.control.program import NAME
from fleet.envoy import balancer
from fleet.envoy.clusters import PROTOCOLS
from fleet.envoy.outliers import Endpoint, Outliers
from fleet.envoy.proxy import Proxy, admin_socket
from fleet.monitoring import shadow
from fleet.monitoring.readings import usage
from fleet.supervisor import unix_http
from fleet.supervisor.supervision import ProcessState

PATIENCE = 4
_ANSWER_LIMIT_S = 1.0


@dataclass
class Seen:
    """The history of one process: whether it ever answered, and how often it failed to in a row."""

    answered: bool = False
    missed: int = 0

    def hangs(self, answers: bool, age_s: float, start_limit_s: float) -> bool:
        """Record an answer or its lack; tell whether the process hangs."""
        self.answered = self.answered or answers
        self.missed = 0 if answers else self.missed + 1
        return self.missed >= PATIENCE and (self.answered or age_s > start_limit_s)


@dataclass
class Watch:
    """What was seen of every process of the fleet in `root`."""

    root: Path
    seen: dict[tuple[str, int], Seen] = field(default_factory=dict)
    outliers: Outliers = field(default_factory=Outliers)

    def hanging(self, programs: Mapping[str, ProcessState], start_limit_s: float) -> list[str]:
        """Ask every process once, and return the programs that hang."""
        unasked = {NAME, shadow.NAME, *balancer.predecessors(programs)}
        running = {name: each for name, each in programs.items() if each.state == "RUNNING" and name not in unasked}
        # Concurrently, since each hung process takes the whole limit.
        with ThreadPoolExecutor(len(running) or 1) as pool:
            answers = dict(zip(running, pool.map(self._answers, running), strict=True))
        # By process id too: a restarted process has no misses.
        self.seen = {(name, each.pid): self.seen.get((name, each.pid), Seen()) for name, each in running.items()}
        return [
            name
            for (name, pid), each in self.seen.items()
            if each.hangs(answers[name], usage.age_s(pid), start_limit_s)
        ]

    def failing(self, programs: Mapping[str, ProcessState], state: State, proxy: Proxy) -> list[str]:
        """Return the replicas that fail requests which others of the same bundle answer."""
        try:
            hosts = proxy.hosts()
        except (*unix_http.FAILURES, ValueError):
            return []
        seen = {
            Endpoint(replica.name, programs[replica.name].pid, replica.digest, protocol): host
            for replica in state.replicas
            if replica.name in programs
            for protocol, host in zip(PROTOCOLS, proxy.of(replica, hosts), strict=True)
            if host
        }
        return self.outliers.look(seen, time.monotonic())

    def _answers(self, name: str) -> bool:
        if (number := balancer.number_of(name)) is not None:
            return unix_http.answers(admin_socket(self.root, number), "/ready", limit_s=_ANSWER_LIMIT_S)
        # Not /readyz: a replica that is not ready need not hang.
        return unix_http.answers(socket_of("http", name, self.root), "/livez", limit_s=_ANSWER_LIMIT_S)
