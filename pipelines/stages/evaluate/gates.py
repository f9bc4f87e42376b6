"""The gates, by name: conditions that a model must meet to be bundled. Pure functions on measured evidence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pipelines.params.params import Gates
from pipelines.stages.evaluate import gate
from pipelines.stages.evaluate.gate import Check

Comparison = Mapping[str, Any]


@dataclass(frozen=True)
class Evidence:
    """The measurements that gates judge.

    Attributes:
        measured: the measures of this model on the hold-out, by name.
        against: its paired differences from the `prior` and the `linear` baseline (`pipelines.statistics.comparisons`).
        live: that from the live model; None where it is not compared, or nothing is live.
        not_compared: digest of the live model and reasons, where it is not compared.
        splits: of all trees of the model; None where it is not made of trees.
        uncalibrated: the paired difference in log loss from the model without its calibration; None where it has none.
    """

    measured: Mapping[str, float]
    against: Mapping[str, Comparison]
    live: Comparison | None
    not_compared: tuple[str, tuple[str, ...]] | None
    splits: int | None
    uncalibrated: Comparison | None = None


@dataclass(frozen=True)
class Gate:
    """One condition of approval.

    Attributes:
        name: the condition, as the report prints it.
        parameters: the keys of `gates` in params.yaml that it reads.
        check: function from the evidence and the values of these keys to the check; None where there is nothing to check.
    """

    name: str
    parameters: tuple[str, ...]
    check: Callable[..., Check | None]


def checks(evidence: Evidence, settings: Gates) -> list[Check]:
    """Return the check of each gate that has something to check, in their order."""
    found = []
    for entry in GATES:
        check = entry.check(evidence, *(getattr(settings, key) for key in entry.parameters))
        if check is not None:
            found.append({"name": entry.name, **check})
    return found


def better_than_prior(evidence: Evidence, fewest: int) -> Check:
    """Check with 95 % confidence that the model is better than the prior, which uses no feature.

    Args:
        fewest: clusters that a bound needs.
    """
    comparison, splits = evidence.against["prior"], evidence.splits
    passed = splits != 0 and comparison["lower_bound"] > 0
    check = gate.bounded("a lower bound above 0", passed, comparison, fewest)
    return check if splits is None else {**check, "splits": splits}


def better_than_linear(evidence: Evidence, margin: float, fewest: int) -> Check:
    """Check that the model is better than the linear baseline on the hold-out, or at most `margin` worse.

    It requires no significance: a month has too few days for that.
    """
    comparison = evidence.against["linear"]
    asks = f"a difference above {-margin if margin else 0:g}"
    return {**gate.decided(comparison["difference"] > -margin, asks), "fewest": fewest, **comparison}


def not_worse_than_live(evidence: Evidence, margin: float, fewest: int, replaces: str | None) -> Check | None:
    """Check with 95 % confidence that the model loses less than `margin` to the live one (a non-inferiority test).

    Where the two are not compared, a person who names the live model in `replaces` accepts that.
    """
    if evidence.not_compared is not None:
        digest, because = evidence.not_compared
        accepted = replaces is not None and digest.startswith(replaces)
        return {"verdict": gate.NOT_COMPARED, "because": list(because), "accepted": accepted}
    if evidence.live is None:
        return None
    passed = evidence.live["lower_bound"] > -margin
    return gate.bounded(f"a lower bound above {-margin:g}", passed, evidence.live, fewest)


def not_worse_than_uncalibrated(evidence: Evidence, margin: float, fewest: int) -> Check | None:
    """Check with 95 % confidence that calibration raises the log loss by less than `margin`, as a share.

    A calibration fitted on one month can be wrong for the next, and no measure of ranks would show it.
    """
    if evidence.uncalibrated is None:
        return None
    passed = evidence.uncalibrated["lower_bound"] > -margin
    check = gate.bounded(f"a lower bound above {-margin:g}", passed, evidence.uncalibrated, fewest)
    return {**check, "compared": "log loss"}


GATES = (
    Gate(gate.PRIOR, ("clusters",), better_than_prior),
    Gate("better than the linear baseline", ("linear_margin", "clusters"), better_than_linear),
    Gate("not worse than uncalibrated", ("calibration_margin", "clusters"), not_worse_than_uncalibrated),
    Gate(gate.LIVE, ("regression_margin", "clusters", "replaces"), not_worse_than_live),
)
