"""An observer of a fleet: readings of the last minutes, and all that the status page and `fleet status --watch` show, as plain values."""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from contract.errors import BulkheadError
from contract.store.channel import Channel
from fleet.configuration import history
from fleet.configuration import state as fleet_state
from fleet.configuration.settings import Settings
from fleet.configuration.state import State
from fleet.envoy.proxy import Proxy
from fleet.monitoring import status
from fleet.monitoring.costs import prices, report
from fleet.monitoring.costs.ledger import Ledger
from fleet.monitoring.readings import reading, traffic
from fleet.monitoring.readings.reading import Reading
from fleet.supervisor import heartbeat
from fleet.supervisor.supervision import Supervisor

# Shorter than a command's: an observer also looks while supervisord hangs.
_SUPERVISOR_LIMIT_S = 2.0
_KEPT_S = 600.0
_WINDOW_S = 60.0
_HISTORY_BYTES = 1 << 16
_HISTORY = 50
# Written by the canary judge, the autoscaler and the comparison of a shadow's answers; each is missing until it has something to say.
_FILES = ("canary", "scaling", "shadow")


class Observer:
    """An observer that changes nothing. `measure` and `look` may run in different threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._store = settings.open_store()
        self._readings: deque[Reading] = deque()
        self._lock = threading.Lock()
        self.ledger = Ledger(settings.root)

    def measure(self) -> None:
        """Take a reading, keep it for ten minutes, and add it to the ledger, unwritten."""
        new = reading.take(self._settings, self._state())
        with self._lock:
            self._readings.append(new)
            while self._readings[0].at < new.at - _KEPT_S:
                self._readings.popleft()
            self.ledger.add(new)

    def costs(self) -> dict[str, Any]:
        """Return the costs by day, and beside them the training of the live bundle.

        Raises:
            ConfigurationError: the prices that the environment gives are none.
        """
        root = self._settings.root
        with self._lock:
            days = self.ledger.days()
        return report.of(days, *prices.read(self._settings.environment, root.parent, self._state().live))

    def costs_now(self) -> dict[str, Any]:
        """Return the costs up to now: what the ledger's own process has not written yet is measured here."""
        self.measure()
        return self.costs()

    def look(self) -> dict[str, Any]:
        """Return the status, the traffic of the last minute and of the last ten, and what other parts have written."""
        root, state = self._settings.root, self._state()
        channel, problems = self._live(state)
        supervisor = Supervisor(root, _SUPERVISOR_LIMIT_S)
        found = status.of(self._settings, state, channel, supervisor, Proxy(self._settings))
        found["problems"] += problems
        with self._lock:
            readings = list(self._readings)
        try:
            newest = [asdict(each) for each in history.read(root, _HISTORY_BYTES)[: -_HISTORY - 1 : -1]]
        except OSError as error:
            newest = []
            found["problems"].append(f"{root / history.FILE_NAME} cannot be read: {error.strerror}")
        return {
            "at": time.time(),
            "status": found,
            "versions": _versions(state, found, channel, newest, readings),
            "traffic": {"now": traffic.of_all(_window(readings)), "points": traffic.points(readings)},
            # But for what the judge keeps for itself, to go on after a kill.
            **{name: _content(root / f"{name}.json", without="saved") for name in _FILES},
            "reconciler": {
                "looks": heartbeat.looks(root),
                "failure": _content(root / status.REFUSAL, without="by"),
            },
            "history": newest,
            "costs": self.costs(),
        }

    def _state(self) -> State:
        return fleet_state.load(self._settings.state)

    def _live(self, state: State) -> tuple[Channel | None, list[str]]:
        """Return the channel `live`, and the problem of a store that does not answer: then it is taken to name what is served."""
        try:
            return self._store.read("live"), []
        except BulkheadError as error:
            served = {"digest": state.live or "", "at": "", "by": ""}
            channel = Channel("live", 0, state.live, (served,)) if state.live else None
            return channel, [f"the store {self._store.location} cannot be read: {' '.join(str(error).split())}"]


def _versions(
    state: State,
    found: Mapping[str, Any],
    channel: Channel | None,
    newest: Iterable[Mapping[str, Any]],
    readings: list[Reading],
) -> list[dict[str, Any]]:
    """Return the bundles that serve, each with its role, its share, when and by whom it was deployed, and its traffic."""
    roles = {"live": state.live, "canary": state.canary.digest if state.canary else None}
    roles["shadow"] = state.shadow
    moves = {entry["digest"]: entry for entry in (channel.history if channel else ())}
    # Newer than the channel's: a canary and a shadow have no move there.
    moves |= {entry["bundle"]: entry for entry in reversed([*newest]) if entry.get("bundle")}
    return [
        {
            "role": role,
            "digest": digest,
            "at": moves.get(digest, {}).get("at"),
            "by": moves.get(digest, {}).get("by"),
            "percent": state.mirror_percent if role == "shadow" else state.weights.get(digest),
            "ready": sum(each["ready"] for each in found["replicas"] if each["digest"] == digest),
            "replicas": len(state.of(digest)),
            **traffic.of_replicas(_window(readings), [each.name for each in state.of(digest)]),
        }
        for role, digest in roles.items()
        if digest
    ]


def _window(readings: list[Reading]) -> list[Reading]:
    """Return the newest reading, and those of the minute before it."""
    return [each for each in readings if each.at >= readings[-1].at - _WINDOW_S]


def _content(path: Path, without: str) -> dict[str, Any] | None:
    with suppress(OSError, ValueError):
        found = json.loads(path.read_bytes())
        return {name: value for name, value in found.items() if name != without} if isinstance(found, dict) else None
    return None


def failure(error: BulkheadError | OSError) -> dict[str, Any]:
    """Return what is shown while the fleet cannot be looked at, such as with a store that does not answer."""
    problem = " ".join(str(error).split())
    return {"at": time.time(), "status": {"ready": False, "running": False, "problems": [problem], "replicas": []}}
