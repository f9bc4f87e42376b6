"""The number of replicas that the load needs, as a pure function of what was observed: no clock, no I/O.

A sample covers the interval between two ticks. In it, a replica with `l` requests in flight on average is busy `l / (1 + l)` of the time (a
queue with Poisson arrivals and random service times). To carry what arrives, the fleet needs

    needed = busy replicas × (arrived / answered) / busy share at the target

The first factor follows from the requests in flight; it saturates where a queue does, so a long queue is not mistaken for as many
replicas. The second is 1 unless requests pile up or are rejected for the overload.

The windows are those of Knative's autoscaler with other lengths. The means over a stable window decide. A short panic window decides where
it needs far more at once. Few polls of short requests say little, but arrivals are counted: by Little's law (in flight = rate × time of a
request), a tick needs its own rate times the busy time of a request over the stable window; or more, as far as its polls are certain of it,
since requests may also have become slower. Scaling down waits until no tick of a hold time needed more.

Source: J. D. C. Little, "A Proof for the Queuing Formula L = λW", 1961; Knative Serving, pkg/autoscaler/scaling/autoscaler.go, and
https://knative.dev/docs/serving/autoscaling/kpa-specific (2 s tick, 60 s stable and 6 s panic window, panic at twice the replicas);
tolerance and hold time are those of Kubernetes' HorizontalPodAutoscaler.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

from fleet.configuration.state import IN_FLIGHT

TICK_S = 0.5
# Where nothing is answered, more replicas may not help: growth in one decision is limited. Source: the step that must be absorbed.
_MOST_GROWTH = 10.0
_COVERED = 0.5  # of a window, which must have samples
_ERRORS = 2.0  # standard errors, of the mean of independent polls of a queue M/M/1


@dataclass(frozen=True, slots=True)
class Sample:
    """An interval between two ticks.

    Attributes:
        in_flight: of each replica that gets requests, the mean number in flight.
        arrived: number of requests that arrived in it.
        answered: number of requests answered in it, those rejected for the overload excepted.
        seconds: its length.
        polls: number of times at which the requests in flight were counted.
    """

    in_flight: tuple[float, ...]
    arrived: int
    answered: int
    seconds: float = TICK_S
    polls: int = 5

    @property
    def busy(self) -> float:
        """The number of busy replicas, on average."""
        return sum(map(busy_share, self.in_flight))

    @property
    def certain_load(self) -> float:
        """The number of replicas that would be busy if everything were answered, as far as the polls are certain of it."""
        total = sum(self.in_flight)
        error = math.sqrt(sum(each * (1 + each) for each in self.in_flight) / max(self.polls, 1))
        certain = max(1 - _ERRORS * error / total, 0.0) if total else 0.0
        return sum(busy_share(certain * each) for each in self.in_flight) * _growth(self.arrived, self.answered)


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
    in_flight: float = IN_FLIGHT
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
        self._samples: deque[tuple[float, Sample]] = deque()
        self._wanted: deque[tuple[float, int]] = deque()
        self._last: float | None = None  # what the last tick needed; None: its metrics were missing
        self._began: float | None = None

    def decide(self, now: float, sample: Sample | None, size: int) -> Decision:
        """Decide at a tick.

        Args:
            now: seconds of a clock that does not go back.
            sample: since the last tick; None, or without a replica that gets requests: the metrics are missing, and the size is held.
            size: the present number of replicas of the live bundle, those that are starting included.
        """
        self._began = now if self._began is None else self._began
        _forget(self._samples, now - self.policy.stable_s)
        before, self._last = self._last, None
        if sample is not None and sample.in_flight:
            self._samples.append((now, sample))
            self._last = self._at_once(sample)
        steady = self._steady(now)
        last_two = [need for need in (before, self._last) if need is not None]
        panic = len(last_two) == 2 and min(last_two) >= self.policy.panic * size
        if panic:
            # The greater, since a step may have begun in the middle of the first interval.
            wanted, reason = math.ceil(max(last_two)), f"panic: the load needs {max(last_two):.1f} replicas now"
        else:
            wanted, reason = self._recommended(steady, size)
        # A gap in the metrics counts as if the present size had been needed.
        self._wanted.append((now, wanted))
        _forget(self._wanted, now - self.policy.hold_s)
        if wanted < size:
            wanted, reason = self._lowered(now, size, reason)
        bounded = min(max(wanted, self.policy.least), self.policy.most)
        if bounded != wanted:
            reason = f"{reason}; bounds are {self.policy.least} and {self.policy.most}"
        return Decision(bounded, reason, self._last, steady, panic)

    def _recommended(self, steady: float | None, size: int) -> tuple[int, str]:
        """Return what a tick without panic wants, before hold time and bounds."""
        if self._last is None:
            return size, "metrics are missing: held"
        if steady is None:
            return size, "too few samples yet: held"
        if abs(steady / size - 1) <= self.policy.tolerance:
            return size, f"steady: the load needs {steady:.1f} replicas"
        return max(1, math.ceil(steady)), f"the load needs {steady:.1f} replicas"

    def _at_once(self, sample: Sample) -> float:
        """Return what one tick needs."""
        busy_s, _, answered, _ = self._sums()
        by_rate = sample.arrived / sample.seconds * busy_s / answered if answered else 0.0
        return min(max(by_rate, sample.certain_load), _MOST_GROWTH * len(sample.in_flight)) / self._share

    def _steady(self, now: float) -> float | None:
        """Return what the stable window needs; None if it has too few samples."""
        busy_s, arrived, answered, seconds = self._sums()
        span = min(self.policy.stable_s, now - (self._began or now) + TICK_S)
        if span < self.policy.stable_s / 2 or seconds < _COVERED * span:
            return None
        return busy_s / seconds * _growth(arrived, answered) / self._share

    def _sums(self) -> tuple[float, int, int, float]:
        """Return busy seconds of replicas, arrived and answered requests, and seconds of the stable window."""
        samples = [sample for _, sample in self._samples]
        return (
            sum(each.busy * each.seconds for each in samples),
            sum(each.arrived for each in samples),
            sum(each.answered for each in samples),
            sum(each.seconds for each in samples),
        )

    @property
    def _share(self) -> float:
        return busy_share(self.policy.in_flight)

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


def _growth(arrived: int, answered: int) -> float:
    # One more of both: with few requests, one that lasts longer than the interval is no overload.
    return min(max((arrived + 1) / (answered + 1), 1.0), _MOST_GROWTH)


def _forget(entries: deque[tuple[float, Sample]] | deque[tuple[float, int]], before: float) -> None:
    while entries and entries[0][0] <= before:
        entries.popleft()
