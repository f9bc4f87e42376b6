"""The number of replicas that the load needs, as a pure function of what was observed: no clock, no I/O.

A sample covers the interval between two ticks. In it, a replica with `l` requests in flight on average is busy `l / (1 + l)` of the time (a
queue with Poisson arrivals and random service times). To carry what arrives, the fleet needs

    needed = busy replicas × (arrived / answered) / busy share at the target

The first factor follows from the requests in flight; it saturates where a queue does, so a long queue is not mistaken for as many
replicas. The second is 1 unless requests pile up or are rejected for the overload, and then sizes the jump.

The windows are those of Knative's autoscaler with other lengths: the mean over a stable window decides, and a short panic window decides
where it needs far more at once. Scaling down waits until no tick of a hold time needed more.

Source: J. D. C. Little, "A Proof for the Queuing Formula L = λW", 1961; Knative Serving, pkg/autoscaler/scaling/autoscaler.go, and
https://knative.dev/docs/serving/autoscaling/kpa-specific (2 s tick, 60 s stable and 6 s panic window, panic at twice the replicas);
tolerance and hold time are those of Kubernetes' HorizontalPodAutoscaler.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

TICK_S = 0.5
# Where nothing is answered, more replicas may not help: growth in one decision is limited. Source: the step that must be absorbed.
_MOST_GROWTH = 10.0
_COVERED = 0.5  # of a window, which must have samples


@dataclass(frozen=True, slots=True)
class Sample:
    """An interval between two ticks.

    Attributes:
        in_flight: of each replica that gets requests, the mean number in flight.
        arrived: number of requests that arrived in it.
        answered: number of requests answered in it, those rejected for the overload excepted.
    """

    in_flight: tuple[float, ...]
    arrived: int
    answered: int

    @property
    def load(self) -> float:
        """The number of replicas that would be busy if everything that arrived were answered."""
        busy = sum(map(busy_share, self.in_flight))
        # One more of both: with few requests, one that lasts longer than the interval is no overload.
        return busy * min(max((self.arrived + 1) / (self.answered + 1), 1.0), _MOST_GROWTH)


@dataclass(frozen=True, slots=True)
class Policy:
    """Bounds, target and windows.

    Attributes:
        least, most: bounds of the number of replicas of the live bundle.
        in_flight: wanted requests in flight per replica.
        stable_s: the stable window.
        hold_s: the time for which no tick may have needed more before replicas are removed.
        panic: panic if two ticks in a row need so many times the present replicas.
        tolerance: a smaller relative difference changes nothing.
    """

    least: int
    most: int
    in_flight: float = 2.5
    stable_s: float = 20.0
    hold_s: float = 20.0
    panic: float = 1.25
    tolerance: float = 0.1


@dataclass(frozen=True, slots=True)
class Decision:
    """The wanted number of replicas and why.

    Attributes:
        needed: replicas that the last interval needed, before rounding; None: its metrics are missing.
        steady: the same of the stable window; None: it has too few samples.
        panic: whether two ticks in a row needed far more than there is.
    """

    replicas: int
    reason: str
    needed: float | None
    steady: float | None
    panic: bool = False


class Autoscaler:
    """Decisions tick by tick; holds the samples of the windows and nothing else."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self._needed: deque[tuple[float, float]] = deque()
        self._wanted: deque[tuple[float, int]] = deque()
        self._last: float | None = None  # the need at the last tick; None: its metrics were missing
        self._began: float | None = None

    def decide(self, now: float, sample: Sample | None, size: int) -> Decision:
        """Decide at a tick.

        Args:
            now: seconds of a clock that does not go back.
            sample: since the last tick; None, or without a replica that gets requests: the metrics are missing, and the size is held.
            size: the present number of replicas of the live bundle, those that are starting included.
        """
        self._began = now if self._began is None else self._began
        before, self._last = self._last, None
        if sample is not None and sample.in_flight:
            self._last = sample.load / busy_share(self.policy.in_flight)
            self._needed.append((now, self._last))
        _forget(self._needed, now - self.policy.stable_s)
        last_two = [need for need in (before, self._last) if need is not None]
        panic = len(last_two) == 2 and min(last_two) >= self.policy.panic * size
        if panic:
            # The greater, since a step may have begun in the middle of the first interval.
            wanted, reason = math.ceil(max(last_two)), f"panic: the load needs {max(last_two):.1f} replicas now"
        else:
            wanted, reason = self._recommended(now, size)
        # A gap in the metrics counts as if the present size had been needed.
        self._wanted.append((now, wanted))
        _forget(self._wanted, now - self.policy.hold_s)
        steady = self._steady(now)
        if wanted < size:
            wanted, reason = self._lowered(now, size, reason)
        bounded = min(max(wanted, self.policy.least), self.policy.most)
        if bounded != wanted:
            reason = f"{reason}; bounds are {self.policy.least} and {self.policy.most}"
        return Decision(bounded, reason, self._last, steady, panic)

    def _recommended(self, now: float, size: int) -> tuple[int, str]:
        """Return what a tick without panic wants, before hold time and bounds."""
        if self._last is None:
            return size, "metrics are missing: held"
        steady = self._steady(now)
        if steady is None:
            return size, "too few samples yet: held"
        if abs(steady / size - 1) <= self.policy.tolerance:
            return size, f"steady: the load needs {steady:.1f} replicas"
        return max(1, math.ceil(steady)), f"the load needs {steady:.1f} replicas"

    def _steady(self, now: float) -> float | None:
        span = min(self.policy.stable_s, now - self._began + TICK_S if self._began is not None else 0.0)
        if span < self.policy.stable_s / 2 or len(self._needed) * TICK_S < _COVERED * span:
            return None
        return sum(need for _, need in self._needed) / len(self._needed)

    def _lowered(self, now: float, size: int, reason: str) -> tuple[int, str]:
        """Return the size to shrink to: the most that any tick of the hold time wanted."""
        if self._began is None or now - self._began < max(self.policy.hold_s, self.policy.stable_s):
            return size, f"{reason}; observed for too short a time to remove any"
        most = max(wanted for _, wanted in self._wanted)
        if most >= size:
            return size, f"{reason}; held, since {most} were needed within {self.policy.hold_s:g} s"
        return most, reason


def busy_share(in_flight: float) -> float:
    """Return the share of time that a replica with so many requests in flight on average is busy, 0 to 1.

    Source: the queue M/M/1, whose mean number of customers is `ρ / (1 - ρ)`.
    """
    return in_flight / (1 + in_flight)


def _forget(entries: deque[tuple[float, float]] | deque[tuple[float, int]], before: float) -> None:
    while entries and entries[0][0] <= before:
        entries.popleft()
