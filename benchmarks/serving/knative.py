"""The peer of scaling: Knative's pod autoscaler with its default settings, as a scaler of the simulated fleet.

Source: Knative Serving at commit 98e5ef9, pkg/autoscaler/scaling/autoscaler.go (`Scale`), multiscaler.go (a tick each 2 s),
metrics/collector.go (a scrape each second) and config/core/configmaps/autoscaler.yaml (windows of 60 s and 6 s, panic at 200 %, rates of
at most 1000 up and 2 down).
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

from benchmarks.serving.queues import Seen

_STABLE_S = 60.0
_PANIC_S = 6.0
_PANIC_THRESHOLD = 2.0
_MAX_SCALE_UP_RATE = 1000.0
_MAX_SCALE_DOWN_RATE = 2.0


@dataclass
class Knative:
    """The autoscaler of one revision.

    Attributes:
        target: wanted requests in flight per pod.
        least, most: bounds of the number of pods.
    """

    target: float
    least: int
    most: int
    tick_s: float = 2.0
    _seen: deque[tuple[float, float]] = field(default_factory=deque)
    _panicked_at: float | None = None
    _most_in_panic: int = 0

    def decide(self, now: float, seen: Seen, size: int) -> int:
        """Return the wanted number of pods."""
        del size  # it goes by the ready ones
        self._seen.append((now, sum(seen.in_flight)))
        ready = max(1, len(seen.in_flight))
        up, down = math.ceil(_MAX_SCALE_UP_RATE * ready), math.floor(ready / _MAX_SCALE_DOWN_RATE)
        stable = min(max(math.ceil(self._average(now, _STABLE_S) / self.target), down), up)
        need = math.ceil(self._average(now, _PANIC_S) / self.target)
        panic = min(max(need, down), up)
        if need / ready >= _PANIC_THRESHOLD:
            self._panicked_at = now
        elif self._panicked_at is not None and self._panicked_at + _STABLE_S < now:
            self._panicked_at, self._most_in_panic = None, 0
        wanted = stable
        if self._panicked_at is not None:
            self._most_in_panic = wanted = max(stable, panic, self._most_in_panic)
        return min(max(wanted, self.least), self.most)

    def _average(self, now: float, window_s: float) -> float:
        while self._seen[0][0] <= now - _STABLE_S:
            self._seen.popleft()
        found = [in_flight for at, in_flight in self._seen if at > now - window_s]
        return sum(found) / len(found)
