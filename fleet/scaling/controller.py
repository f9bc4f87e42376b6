"""The autoscaler as a controller of the reconciler: it samples Envoy, decides twice a second, and writes `scaling.json`."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from contract.files import canonical_json, write_atomically
from fleet.configuration.edit import Edit
from fleet.configuration.state import Bounds, State
from fleet.scaling.autoscaler import Autoscaler, Decision, Policy, Sample
from fleet.scaling.reader import Reader, Source

NAME = "autoscaler"
FILE_NAME = "scaling.json"
_KEPT = 600
_WRITE_S = 2.0


class Scaler:
    """Keeps the number of replicas between the bounds of `fleet.yaml`; without bounds it does nothing.

    Args:
        clock: seconds that never go back, unlike the time of day.
    """

    def __init__(self, root: Path, source: Source, clock: Callable[[], float] = time.monotonic) -> None:
        self._path, self._reader, self._clock = root / FILE_NAME, Reader(source, clock), clock
        self._autoscaler: Autoscaler | None = None
        self._bounds: Bounds | None = None
        self._history: deque[list[float | int | None]] = deque(maxlen=_KEPT)
        self._replica_seconds = 0.0
        self._counted_at: float | None = None
        self._written_at = float("-inf")
        self._fixed: int | None = None  # the size without bounds that was told

    def step(self, state: State, now: float) -> Edit | None:
        """Return the edit that brings the live bundle's replicas to the wanted number, if that is another."""
        self._count(state)
        if state.bounds is None or state.live is None:
            self._rest(state, now)
            return None
        if state.bounds != self._bounds or self._autoscaler is None:
            # Another target or other bounds: what was seen before was judged by the old ones.
            self._autoscaler, self._bounds = Autoscaler(_policy(state.bounds)), state.bounds
        self._fixed = None
        self._reader.open(state.weights)
        sample = self._reader.take()
        decision = self._autoscaler.decide(self._clock(), sample, state.size)
        self._tell(state, now, sample, decision)
        if decision.replicas == state.size:
            return None
        return Edit("scale", NAME, decision.reason, _evidence(sample, decision), decision.replicas)

    def _rest(self, state: State, now: float) -> None:
        if self._autoscaler is not None:
            self._reader.close()
            self._autoscaler = self._bounds = None
            self._history.clear()
        if state.size != self._fixed:
            self._write({"at": now, "mode": "fixed", "desired": state.size, "why": "fleet.yaml has a fixed number"})
            self._fixed = state.size

    def _count(self, state: State) -> None:
        """Add up what every replica costs, those of a canary too."""
        now = self._clock()
        if self._counted_at is not None:
            self._replica_seconds += len(state.replicas) * (now - self._counted_at)
        self._counted_at = now

    def _tell(self, state: State, now: float, sample: Sample | None, decision: Decision) -> None:
        ready = len(sample.in_flight) if sample else None
        in_flight = round(sum(sample.in_flight), 3) if sample else None
        self._history.append([round(now, 3), in_flight, decision.replicas, ready])
        # Every tick would be a file every half second for nobody; a change is told at once.
        if decision.replicas == state.size and self._clock() - self._written_at < _WRITE_S:
            return
        self._write(
            {
                "at": now,
                "mode": "panic" if decision.panic else "stable",
                "in_flight": in_flight,
                "target_per_replica": self._autoscaler.policy.in_flight if self._autoscaler else None,
                "needed": decision.needed,
                "steady": decision.steady,
                "desired": decision.replicas,
                "ready": ready,
                "min": state.bounds.min if state.bounds else None,
                "max": state.bounds.max if state.bounds else None,
                "why": decision.reason,
                "history": list(self._history),
            }
        )

    def _write(self, content: dict[str, Any]) -> None:
        self._written_at = self._clock()
        with suppress(OSError):  # a full disk must not keep replicas from being started
            write_atomically(self._path, canonical_json(content | {"replica_seconds": round(self._replica_seconds, 1)}))


def _policy(bounds: Bounds) -> Policy:
    return Policy(bounds.min, bounds.max, bounds.in_flight)


def _evidence(sample: Sample | None, decision: Decision) -> dict[str, Any]:
    """Return the figures behind a decision, for `fleet history`."""
    seen = {
        "in_flight": [round(each, 2) for each in sample.in_flight] if sample else None,
        "arrived": sample.arrived if sample else None,
        "answered": sample.answered if sample else None,
    }
    return {**seen, "needed": decision.needed, "steady": decision.steady}
