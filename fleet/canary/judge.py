"""The judge of one canary: adds what was counted since the last look to the evidence, and decides.

wait       neither is shown yet; what is missing is said
step       harmless enough for the next weight: the expected share of failed requests there stays within the error budget
promote    harmless by every measure
roll back  harm is shown, or no data came for some time, or the evidence for a step was not there in time
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from fleet.canary.counts import Tally, of_kind, outcomes, quantile, summed
from fleet.canary.evidence import Errors, Shift, Slowness, log_mean

WAIT, STEP, PROMOTE, ROLL_BACK = "wait", "step", "promote", "roll back"
STEPS = (1, 5, 25)
_HISTORY = 600
_CLASSES = ("server", "client")


@dataclass(frozen=True)
class Policy:
    """What counts as harm, and how sure the judge must be.

    Attributes:
        alpha: the chance that a canary that does no harm is ever rolled back for its evidence, by kind of evidence.
        doubt: the chance that one that does harm passes one test of one step.
        tolerated: rates of server and client errors that are no harm, whatever the live replicas' are.
        budget: shares of all requests that may fail, in expectation, because of the canary, at any weight and after it is promoted.
        slowdown: the ratio of median latencies that is no harm.
        shift: the total variation between predictions that is no harm; a new model should predict somewhat otherwise.
        block_requests, block_s: the least requests of a canary, and seconds, in a block of latencies and predictions.
        silence_s: seconds without an answered request of the canary after which it is rolled back.
        step_s: seconds after which a step without enough evidence is rolled back.
    """

    alpha: Mapping[str, float] = field(
        default_factory=lambda: {"outcome": 0.006, "latency": 0.002, "prediction": 0.002}
    )
    doubt: float = 0.05
    tolerated: tuple[float, float] = (0.001, 0.005)
    budget: tuple[float, float] = (0.005, 0.02)
    slowdown: float = 1.15
    shift: float = 0.1
    block_requests: int = 10
    block_s: float = 1.0
    silence_s: float = 30.0
    step_s: float = 600.0


@dataclass(frozen=True)
class Verdict:
    """A decision, the reason in words, and for a step the next weight in percent."""

    kind: str
    why: str
    weight: int | None = None


@dataclass
class Block:
    """Counts of both sides, and of the control, since `began`."""

    began: float
    live: Tally = field(default_factory=dict)
    canary: Tally = field(default_factory=dict)
    control: Tally = field(default_factory=dict)


class Judge:
    """The judge of one canary; `canary` and `champion` are digests.

    Attributes:
        same_traffic: requests go to a side at random. Where callers stay on one side, what they send differs, and so neither predictions
            nor client errors are evidence.

    The control is made of replicas of the live bundle with the canary's number, share of requests and age. Latency is compared with theirs
    alone: a replica that is asked ten times less often is half as fast again, since its caches are cold.
    """

    def __init__(self, canary: str, champion: str, now: float) -> None:
        self.canary, self.champion = canary, champion
        self.policy = Policy()
        self.started_at = self.step_at = self.heard_at = now
        self.weight = 0
        self.same_traffic = True
        self.errors = [Errors(rate) for rate in self.policy.tolerated]
        self.latency = Slowness()
        self.shifts = {
            "score": Shift(self.policy.shift, numeric=True),
            "label": Shift(self.policy.shift),
        }
        self.history: list[list[Any]] = []
        self.verdict = Verdict(WAIT, "no look yet")
        self.decided_at: float | None = None
        self._block = Block(now)

    def look(self, live: Tally, canary: Tally, control: Tally, weight: int, now: float) -> Verdict:
        """Add what was counted since the last look; decide.

        Args:
            live: counts of all live replicas, those of the control included.
            control: of the control's replicas; empty where there are none.
            weight: the canary's present share of the requests, in percent.
        """
        if weight != self.weight:
            self.weight, self.step_at, self._block = weight, now, Block(now)
        self._add(live, canary, control, now)
        verdict = self._decide(now)
        # It takes time to act on an end; meanwhile only harm changes it.
        if self.decided_at is None or (verdict.kind, self.verdict.kind) == (ROLL_BACK, PROMOTE):
            self.verdict = verdict
            self.decided_at = now if verdict.kind in (PROMOTE, ROLL_BACK) else None
        self._record(now)
        return self.verdict

    def skip(self, seconds: float) -> None:
        """Let this time not count for any deadline, nor for a block."""
        self.step_at, self.heard_at = self.step_at + seconds, self.heard_at + seconds
        self._block.began += seconds

    def evidence(self) -> dict[str, float]:
        """Return the e-value for harm by kind of evidence."""
        return {kind: math.exp(min(each, 700.0)) for kind, each in self._harm().items()}

    def thresholds(self) -> dict[str, float]:
        """Return the e-values at which a canary is rolled back."""
        return {kind: 1 / alpha for kind, alpha in self.policy.alpha.items()}

    def report(self, now: float) -> dict[str, Any]:
        """Return the evidence over time, as `canary.json` has it."""
        return {
            "at": now,
            "bundle": self.canary,
            "champion": self.champion,
            "weight": self.weight,
            "started_at": self.started_at,
            "deadline": self.step_at + self.policy.step_s,
            "verdict": self.verdict.kind,
            "decided_at": self.decided_at,
            "why": self.verdict.why,
            "alpha": sum(self.policy.alpha.values()),
            "requests": {"live": self.errors[0].live[0], "canary": self.errors[0].canary[0]},
            "errors": {
                name: {"live": each.live[1], "canary": each.canary[1]}
                for name, each in zip(_CLASSES, self.errors, strict=True)
            },
            "blocks": {"slower": self.latency.slower, "faster": self.latency.faster},
            "evidence": self.evidence(),
            "thresholds": self.thresholds(),
            "history": self.history,
            "saved": self._saved(),
        }

    @classmethod
    def resumed(cls, report: Mapping[str, Any]) -> Judge:
        """Return the judge that wrote a report: what it knew is not lost when its process ends."""
        judge = cls(report["bundle"], report["champion"], report["started_at"])
        saved = report["saved"]
        judge.weight, judge.step_at, judge.heard_at = report["weight"], saved["step_at"], saved["heard_at"]
        judge.decided_at, judge.verdict = report["decided_at"], Verdict(report["verdict"], report["why"])
        judge.errors = [Errors(**each) for each in saved["errors"]]
        judge.latency = Slowness(**saved["latency"])
        judge.shifts = {kind: Shift(**each) for kind, each in saved["shifts"].items()}
        judge.history = list(report["history"])
        judge._block = Block(report["at"])
        return judge

    def _saved(self) -> dict[str, Any]:
        return {
            "step_at": self.step_at,
            "heard_at": self.heard_at,
            "errors": [asdict(each) for each in self.errors],
            "latency": asdict(self.latency),
            "shifts": {kind: asdict(each) for kind, each in self.shifts.items()},
        }

    def _add(self, live: Tally, canary: Tally, control: Tally, now: float) -> None:
        (live_requests, *live_failed), (requests, *failed) = outcomes(live), outcomes(canary)
        for errors, of_live, of_canary in zip(self.errors, live_failed, failed, strict=True):
            if errors is self.errors[0] or self.same_traffic:
                errors.add((live_requests, of_live), (requests, of_canary))
        if requests:
            self.heard_at = now
        block = self._block
        block.live, block.canary = summed([block.live, live]), summed([block.canary, canary])
        block.control = summed([block.control, control])
        if now - block.began >= self.policy.block_s and outcomes(block.canary)[0] >= self.policy.block_requests:
            self._close(block)
            self._block = Block(now)

    def _close(self, block: Block) -> None:
        for kind, shift in self.shifts.items() if self.same_traffic else ():
            shift.add(of_kind(block.live, kind), of_kind(block.canary, kind))
        ours, theirs = of_kind(block.canary, "latency"), of_kind(block.control, "latency")
        if min(sum(ours.values()), sum(theirs.values())) >= self.policy.block_requests / 2:
            one, other = quantile(ours, 0.5), quantile(theirs, 0.5)
            if one is not None and other is not None:
                self.latency.add(one / other, self.policy.slowdown)

    def _harm(self) -> dict[str, float]:
        return {
            "outcome": log_mean([each.harm() for each in self.errors]),
            "latency": self.latency.harm(),
            "prediction": log_mean([each.harm() for each in self.shifts.values()]),
        }

    def _decide(self, now: float) -> Verdict:
        for kind, harm in self._harm().items():
            if harm >= -math.log(self.policy.alpha[kind]):
                return Verdict(ROLL_BACK, self._words(kind))
        following = next((step for step in STEPS if step > self.weight), 100)
        missing = self._missing(following)
        if not missing:
            if following == 100:
                return Verdict(PROMOTE, "no harm by errors, latency and predictions")
            return Verdict(STEP, f"{following} % of the requests would fail within the error budget", following)
        if now - self.heard_at >= self.policy.silence_s:
            return Verdict(ROLL_BACK, f"no data: the canary answered no request for {now - self.heard_at:.0f} s")
        if now - self.step_at >= self.policy.step_s:
            return Verdict(ROLL_BACK, f"no evidence after {now - self.step_at:.0f} s at {self.weight} %: {missing}")
        return Verdict(WAIT, missing)

    def _missing(self, following: int) -> str:
        """Return what must be shown yet before the canary gets `following` percent; empty if nothing."""
        sure = -math.log(self.policy.doubt)
        lacking = [
            f"{name} errors below {budget * 100 / following:.1%}"
            for name, each, budget in zip(_CLASSES, self.errors, self.policy.budget, strict=True)
            if (each is self.errors[0] or self.same_traffic) and each.harmless(budget * 100 / following) < sure
        ]
        if following == 100:
            lacking += ["latency"] * (self.latency.harmless() < sure)
            counted = [each for each in self.shifts.values() if each.live]
            if self.same_traffic and (not counted or any(each.harmless() < sure for each in counted)):
                lacking.append("predictions")
        return f"not shown yet: {', '.join(lacking)}" if lacking else ""

    def _words(self, kind: str) -> str:
        """Return the evidence for harm in words."""
        if kind == "latency":
            blocks = self.latency.slower + self.latency.faster
            return f"latency: over {self.policy.slowdown - 1:.0%} slower in {self.latency.slower} of {blocks} blocks"
        if kind == "prediction":
            return f"predictions: shifted by more than {self.policy.shift:.0%}"
        name, worst = max(zip(_CLASSES, self.errors, strict=True), key=lambda each: each[1].harm())
        return (
            f"{name} errors: {worst.canary[1]:,} of {worst.canary[0]:,} requests, "
            f"live {worst.live[1]:,} of {worst.live[0]:,}"
        )

    def _record(self, now: float) -> None:
        self.history.append([now, self.weight, self.errors[0].canary[0], self.evidence()])
        if len(self.history) > _HISTORY:
            self.history = self.history[::2]
