"""Evidence for and against a canary as e-processes, which stay valid however often they are looked at.

An e-process is a wealth that a bet against a null hypothesis has won: it starts at 1, its mean is at most 1 while the null hypothesis
holds, and so it ever reaches 1 / alpha with probability alpha at most, whenever one stops (Ville's inequality). Each kind of evidence
bets on two null hypotheses: that the canary does no harm beyond a margin, and that it does; the first rolls back, the second promotes.

Source: Ramdas, Grünwald, Vovk and Shafer, "Game-theoretic statistics and safe anytime-valid inference", 2023; docs/explanation/canary.md.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import lgamma, log, log1p

from fleet.canary.counts import rebinned

# Of the odds of an error on the canary to those on a live replica; the prior of a bet is uniform on them.
_WORSE = tuple(2.0**power for power in range(1, 11))
_ALIKE = (0.25, 0.5, 0.8, 1.0, 1.25)
_TOLERATED_ODDS = 2.0  # of errors on both sides, where there are many
_RATES = tuple(2.0**power for power in range(1, 11))  # multiples of a tolerated rate
_SLOWER = (0.6, 0.7, 0.8, 0.9, 0.97)  # chances that the canary is the slower one
_STAKES = (0.1, 0.3, 0.6, 0.9)  # of the greatest stake that cannot ruin


def log_mean(logs: Sequence[float]) -> float:
    """Return the logarithm of the mean of e-values: a mean of e-processes is one, and a mixture over alternatives is a mean."""
    highest = max(logs)
    if highest == -math.inf:
        return highest
    return highest + log(sum(math.exp(each - highest) for each in logs) / len(logs))


@dataclass
class Errors:
    """Requests that failed in one way.

    No harm: the canary's odds of an error are at most those of the live replicas, or its rate is at most `tolerated`. Given the numbers of
    requests of each side and of their errors in one interval, the canary's errors are then hypergeometric, whatever the traffic was like
    (Fisher's exact test); with odds of ω they have Fisher's noncentral distribution. Requests go to a side at random, so errors that
    come in bursts do not matter.
    """

    tolerated: float
    live: list[int] = field(default_factory=lambda: [0, 0])
    canary: list[int] = field(default_factory=lambda: [0, 0])
    pending: list[int] = field(default_factory=lambda: [0] * 4)
    worse: list[float] = field(default_factory=lambda: [0.0] * len(_WORSE))
    alike: list[float] = field(default_factory=lambda: [0.0] * len(_ALIKE))

    def add(self, live: tuple[int, int], canary: tuple[int, int]) -> None:
        """Add the requests that were counted since the last look, and the errors among them."""
        for total, new in ((self.live, live), (self.canary, canary)):
            total[0] += new[0]
            total[1] += new[1]
        self.pending = [each + new for each, new in zip(self.pending, (*live, *canary), strict=True)]
        # A page may be late: what the other side counted meanwhile waits for it.
        if self.pending[0] and self.pending[2]:
            self._bet((self.pending[0], self.pending[1]), (self.pending[2], self.pending[3]))
            self.pending = [0] * 4

    def _bet(self, live: tuple[int, int], canary: tuple[int, int]) -> None:
        if live[1] + canary[1]:
            weights = _hypergeometric(live, canary)
            like = {odds: _noncentral(weights, canary[1], odds) for odds in {*_WORSE, *_ALIKE, _TOLERATED_ODDS, 1.0}}
            self.worse = [each + like[odds] - like[1.0] for each, odds in zip(self.worse, _WORSE, strict=True)]
            limit = like[_TOLERATED_ODDS]
            self.alike = [each + like[odds] - limit for each, odds in zip(self.alike, _ALIKE, strict=True)]

    def harm(self) -> float:
        """Return the logarithm of the evidence for harm: the smaller of two, since either null hypothesis is no harm."""
        (requests, failed), rate = self.canary, self.tolerated
        rates = [rate * times for times in _RATES if rate * times < 1]
        absolute = log_mean([_binomial(requests, failed, each, rate) for each in rates])
        return min(absolute, log_mean(self.worse))

    def harmless(self, margin: float) -> float:
        """Return the logarithm of the evidence that the canary's rate is below `margin`, or its odds below twice those of live ones."""
        if margin >= 1:
            return math.inf
        requests, failed = self.canary
        rates = [_binomial(requests, failed, margin * share, margin) for share in (0.0, 0.0, 0.1, 0.4)]
        return log_mean([log_mean(rates), log_mean(self.alike)])


@dataclass
class Slowness:
    """Blocks of time in which the canary's median latency was above `margin` times that of its control, or below.

    No harm: at most every second block, given all blocks before. One block is one observation, since latencies of neighbouring requests
    depend on each other.
    """

    slower: int = 0
    faster: int = 0

    def add(self, ratio: float, margin: float) -> None:
        """Add a block by the ratio of the two medians."""
        if ratio > margin:
            self.slower += 1
        else:
            self.faster += 1

    def harm(self) -> float:
        """Return the logarithm of the evidence that the canary is slower."""
        return log_mean([_binomial(self.slower + self.faster, self.slower, chance, 0.5) for chance in _SLOWER])

    def harmless(self) -> float:
        """Return the logarithm of the evidence that it is not."""
        return log_mean([_binomial(self.slower + self.faster, self.faster, chance, 0.5) for chance in _SLOWER])


@dataclass
class Shift:
    """Predictions by bin, in blocks of time.

    No harm: the total variation between the two sides' predictions is at most `tolerated`. Before each block the bins are chosen of which
    the canary had the greater share so far (by Dirichlet's posterior mean); the bet is that it has it again, by more than tolerated. Only
    the mean of a block counts, so rows of one request may depend on each other.

    Attributes:
        numeric: the bins are upper bounds of numbers, of which two bundles have different ones.

    Source: Shekhar and Ramdas, "Nonparametric two-sample testing by betting", IEEE Transactions on Information Theory, 2023.
    """

    tolerated: float
    numeric: bool = False
    live: dict[str, float] = field(default_factory=dict)
    canary: dict[str, float] = field(default_factory=dict)
    shifted: list[float] = field(default_factory=lambda: [0.0] * len(_STAKES))
    alike: list[float] = field(default_factory=lambda: [0.0] * len(_STAKES))
    blocks: int = 0

    def add(self, live: Mapping[str, float], canary: Mapping[str, float]) -> None:
        """Add a block with predictions on both sides; numbers of rows by bin."""
        if not sum(live.values()) or not sum(canary.values()):
            return
        if self.numeric and set(live) != set(canary):
            canary = rebinned(canary, live)
        if self.live:
            self._bet(live, canary)
        for total, new in ((self.live, live), (self.canary, canary)):
            for key, count in new.items():
                total[key] = total.get(key, 0.0) + count

    def _bet(self, live: Mapping[str, float], canary: Mapping[str, float]) -> None:
        self.blocks += 1
        keys = {*self.live, *self.canary}
        chosen = {
            key for key in keys if _posterior(self.canary, key, len(keys)) > _posterior(self.live, key, len(keys))
        }
        gap = _share(canary, chosen) - _share(live, chosen)
        stakes = [share / (1 + self.tolerated) for share in _STAKES]
        self.shifted = [
            each + log1p(by * (gap - self.tolerated)) for each, by in zip(self.shifted, stakes, strict=True)
        ]
        limit = 2 * self.tolerated
        stakes = [share / (1 - limit) for share in _STAKES]
        self.alike = [each + log1p(by * (limit - gap)) for each, by in zip(self.alike, stakes, strict=True)]

    def harm(self) -> float:
        """Return the logarithm of the evidence for a shift beyond what is tolerated."""
        return log_mean(self.shifted)

    def harmless(self) -> float:
        """Return the logarithm of the evidence that the chosen bins have less than twice the tolerated shift."""
        return log_mean(self.alike)


def _hypergeometric(live: tuple[int, int], canary: tuple[int, int]) -> dict[int, float]:
    """Return the logarithm of the chance of each number of errors of the canary, given all requests and all errors of an interval."""
    failed = live[1] + canary[1]
    fewest, most = max(0, failed - live[0]), min(failed, canary[0])
    whole = _log_choose(live[0] + canary[0], failed)
    return {
        count: _log_choose(canary[0], count) + _log_choose(live[0], failed - count) - whole
        for count in range(fewest, most + 1)
    }


def _noncentral(weights: Mapping[int, float], count: int, odds: float) -> float:
    """Return the log-likelihood of odds, by Fisher's noncentral hypergeometric distribution."""
    tilted = [weight + each * log(odds) for each, weight in weights.items()]
    return weights[count] + count * log(odds) - log_mean(tilted) - log(len(tilted))


def _binomial(trials: int, hits: int, chance: float, null: float) -> float:
    """Return the log-likelihood ratio of two chances of a hit."""
    if chance == 0:
        return -math.inf if hits else -trials * log1p(-null)
    return hits * log(chance / null) + (trials - hits) * (log1p(-chance) - log1p(-null))


def _log_choose(number: int, of: int) -> float:
    return lgamma(number + 1) - lgamma(of + 1) - lgamma(number - of + 1)


def _posterior(counts: Mapping[str, float], key: str, bins: int) -> float:
    return (counts.get(key, 0.0) + 0.5) / (sum(counts.values()) + 0.5 * bins)


def _share(counts: Mapping[str, float], keys: set[str]) -> float:
    return sum(counts.get(key, 0.0) for key in keys) / sum(counts.values())
