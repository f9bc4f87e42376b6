"""Simulated rollouts: the judge itself, on drawn counts, with latencies that depend on each other and on their replica's luck."""

from __future__ import annotations

import math
import random
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass
from functools import cache

from bentos.monitoring.metrics import BUCKETS
from fleet.canary.counts import Tally, summed
from fleet.canary.judge import PROMOTE, ROLL_BACK, STEP, Judge, Verdict

LOOK_S = 0.5
_LIMIT_S = 700.0
_BOUNDS = [*map(repr, BUCKETS), "+Inf"]
_TENTHS = (0.06, 0.09, 0.13, 0.16, 0.2, 0.24, 0.28, 0.34, 0.43)  # about those of the scores below
_SCORE_BOUNDS = [*map(repr, _TENTHS), "+Inf"]
_MEDIAN_S = 0.0004
_SPREAD = 0.4  # of the logarithms of latencies
_LUCK, _MEMORY = 0.08, 0.7  # of a replica at one look, as a logarithm, and its correlation with that at the next
_POOL = 20_000


@dataclass(frozen=True)
class Canary:
    """A canary's faults: its rate of server errors, its slowdown, what is added to its scores, and whether its labels are swapped."""

    errors: float = 0.0
    slowdown: float = 1.0
    shift: float = 0.0
    swapped: bool = False


@dataclass(frozen=True)
class Rollout:
    """The end of a rollout, and the seconds and requests that it took; `failed`: the canary's server errors."""

    verdict: Verdict
    seconds: float
    asked: int
    failed: int


class Replicas:
    """Replicas of one bundle that share their luck."""

    def __init__(self, draw: random.Random, canary: Canary) -> None:
        self._draw, self._canary, self._luck = draw, canary, draw.gauss(0, _LUCK)
        self._scores, self._times = _pools(canary.shift, canary.slowdown)

    def answer(self, requests: int, mood: float) -> Tally:
        """Return the counts of so many requests; `mood`: the machine's factor on all latencies."""
        self._luck = _MEMORY * self._luck + math.sqrt(1 - _MEMORY**2) * self._draw.gauss(0, _LUCK)
        factor = mood * math.exp(self._luck)
        failed = sum(self._draw.random() < self._canary.errors for _ in range(requests)) if self._canary.errors else 0
        found: Counter[tuple[str, str]] = Counter({("score", bound): 0 for bound in _SCORE_BOUNDS})
        found.update({("outcome", "ok"): requests - failed, ("outcome", "internal"): failed})
        for score, seconds in zip(
            self._draw.choices(self._scores, k=requests - failed),
            self._draw.choices(self._times, k=requests - failed),
            strict=True,
        ):
            found["latency", _BOUNDS[bisect_left(BUCKETS, seconds * factor)]] += 1
            found["score", _SCORE_BOUNDS[bisect_left(_TENTHS, score)]] += 1
            found["label", "late" if (score >= 0.5) != self._canary.swapped else "on time"] += 1
        return found


@cache
def _pools(shift: float, slowdown: float) -> tuple[list[float], list[float]]:
    """Return scores and seconds to choose from."""
    draw = random.Random(0)
    scores = [min(max(draw.betavariate(2, 6) + shift, 0.0), 1.0) for _ in range(_POOL)]
    return scores, [draw.lognormvariate(math.log(_MEDIAN_S * slowdown), _SPREAD) for _ in range(_POOL)]


def rollout(seed: int, canary: Canary, rate_per_s: float, weight: int = 1, champion: Canary | None = None) -> Rollout:
    """Simulate a rollout that starts with a weight in percent, until its end.

    Args:
        champion: the live bundle's own faults.
    """
    draw = random.Random(seed)
    live, control, trial = (Replicas(draw, each) for each in (champion or Canary(), champion or Canary(), canary))
    judge, now, mood, failed = Judge("canary", "champion", 0.0), 0.0, 1.0, 0
    while now < _LIMIT_S:
        now += LOOK_S
        mood = mood**0.95 * math.exp(draw.gauss(0, 0.05))
        shares = [1 - 2 * weight / 100, weight / 100, weight / 100]
        counts = [_poisson(draw, rate_per_s * LOOK_S * share) for share in shares]
        of_live, of_control, of_trial = (
            side.answer(count, mood) for side, count in zip((live, control, trial), counts, strict=True)
        )
        failed += int(of_trial["outcome", "internal"])
        verdict = judge.look(summed([of_live, of_control]), of_trial, of_control, weight, now)
        if verdict.kind in (PROMOTE, ROLL_BACK):
            break
        if verdict.kind == STEP and verdict.weight:
            weight = verdict.weight
    return Rollout(judge.verdict, now, round(now * rate_per_s), failed)


def _poisson(draw: random.Random, mean: float) -> int:
    """Return a Poisson number: the arrivals of a unit rate in a time of `mean`."""
    reached, count = draw.expovariate(1), 0
    while reached < mean:
        reached += draw.expovariate(1)
        count += 1
    return count
