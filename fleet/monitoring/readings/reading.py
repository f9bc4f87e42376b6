"""A reading: the counters of all processes, replicas and of Envoy at one moment."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from fleet.configuration.settings import Settings
from fleet.configuration.state import State
from fleet.envoy.proxy import NUMBERS, admin_socket
from fleet.monitoring.readings import metrics, usage
from fleet.monitoring.readings.metrics import Counters
from fleet.supervisor import unix_http
from fleet.supervisor.metrics import read

_LIMIT_S = 1.0
_STATS = "/stats?format=json&filter=^http%5C.(http|grpc)%5C.downstream_rq_(total|5xx|4xx|2xx)%24"
_BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Reading:
    """The fleet's counters.

    Attributes:
        at: Unix time.
        uptime_s: seconds since boot, the clock of the processes' starts.
        boot: names this boot of the machine; processes of another one have nothing to do with these.
        processes: by a key that no later process gets.
        replicas: by name; one that did not answer is missing.
        shadows: names of the replicas whose answers no caller gets.
        callers: requests that callers sent to each Envoy, `total` and by class of the status; None: one did not answer.
    """

    at: float
    uptime_s: float
    boot: str
    processes: usage.Processes
    replicas: Mapping[str, Counters] = field(default_factory=dict)
    shadows: frozenset[str] = frozenset()
    callers: Sequence[Mapping[str, int]] | None = None


def take(settings: Settings, state: State) -> Reading:
    """Read everything, within two seconds."""
    with ThreadPoolExecutor(len(state.replicas) or 1) as pool:
        # Concurrently, since each hung replica takes the whole limit.
        pages = pool.map(lambda each: read(each, settings, _LIMIT_S, metrics.of_replica), state.replicas)
        answers = zip(state.replicas, pages, strict=True)
        replicas = {replica.name: counters for replica, counters in answers if counters is not None}
    return Reading(
        time.time(),
        time.clock_gettime(time.CLOCK_BOOTTIME),
        _BOOT.read_text()[:8] if _BOOT.is_file() else "",
        usage.read(settings.root),
        replicas,
        frozenset(each.name for each in state.of(str(state.shadow))),
        _callers(settings),
    )


def _callers(settings: Settings) -> list[Mapping[str, int]] | None:
    found: list[Mapping[str, int]] = []
    for number in NUMBERS:
        try:
            status, content = unix_http.ask(admin_socket(settings.root, number), "GET", _STATS, limit_s=_LIMIT_S)
            if status != 200:
                return None
            found.append(metrics.of_envoy(content))
        except (*unix_http.FAILURES, ValueError, KeyError):
            return None
    return found
