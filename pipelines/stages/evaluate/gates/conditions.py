"""The gates, by name: conditions that a model must meet to be bundled. Pure functions on measured evidence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from pipelines.params.params import Gates
from pipelines.stages.evaluate.gates import gate
from pipelines.stages.evaluate.gates.gate import Check

# A figure with bounds: `figure`, `lower_bound`, `upper_bound`, the `measure` in words, and what the bounds rest on.
Bounded = Mapping[str, Any]
HEADLINE, LOG_LOSS, CALIBRATION, COST = "headline", "log_loss", "calibration_error", "cost"
BEST_COST, SAVED = "best_cost", "saved"
COSTS = (COST, BEST_COST, SAVED)
# The keys of `gates` with the margins of non-inferiority, by metric.
MARGINS = {
    HEADLINE: "regression_margin",
    LOG_LOSS: "log_loss_margin",
    CALIBRATION: "calibration_error_margin",
    COST: "cost_margin",
}


@dataclass(frozen=True)
class Evidence:
    """The measurements that gates judge.

    Attributes:
        against: the model's paired differences from the `prior` and the `linear` baseline (`pipelines.statistics.comparisons`).
        live: those from the live model by metric: `headline`, and `log_loss`, `calibration_error`, `cost` where they have a meaning;
            None where it is not compared, or nothing is live.
        not_compared: digest of the live model and reasons, where it is not compared.
        splits: of all trees of the model; None where it is not made of trees.
        uncalibrated: the paired difference in log loss from the model without its calibration; None where it has none.
        apart: the checks of slices and of protected groups (`pipelines.stages.evaluate.slices`).
        bounded: the figures of this model on the hold-out, by name; those without a meaning there are left out.
    """

    against: Mapping[str, Bounded]
    live: Mapping[str, Bounded] | None
    not_compared: tuple[str, tuple[str, ...]] | None
    splits: int | None
    uncalibrated: Bounded | None = None
    bounded: Mapping[str, Bounded] = field(default_factory=dict)
    apart: tuple[Check, ...] = ()


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
    return [*found, *evidence.apart]


def better_than_prior(evidence: Evidence, fewest: int) -> Check:
    """Check that the model is better than the prior, which uses no feature.

    Args:
        fewest: clusters that a bound needs.
    """
    check = gate.better_by(evidence.against["prior"], 0.0, fewest)
    if evidence.splits is None:
        return check
    return {**check, "splits": evidence.splits} | ({"verdict": gate.FAILED} if evidence.splits == 0 else {})


def better_than_linear(evidence: Evidence, margin: float, fewest: int) -> Check:
    """Check that the model is better than the linear baseline on the hold-out, or at most `margin` worse.

    It requires no significance: a month has too few days for that.
    """
    return gate.better_by(evidence.against["linear"], margin, fewest, suffices=True)


def not_worse_than_live(evidence: Evidence, margin: float, fewest: int, replaces: str | None) -> Check | None:
    """Check that the model loses less than `margin` of its headline to the live one (a non-inferiority test).

    Where the two are not compared, a person who names the live model in `replaces` accepts that.
    """
    if evidence.not_compared is not None:
        digest, because = evidence.not_compared
        accepted = replaces is not None and digest.startswith(replaces)
        return {"verdict": gate.NOT_COMPARED, "because": list(because), "accepted": accepted}
    if evidence.live is None:
        return None
    return gate.better_by(evidence.live[HEADLINE], margin, fewest)


def no_worse_metric(metric: str, evidence: Evidence, margin: float | None, fewest: int) -> Check | None:
    """Check that the model loses less than `margin` of another metric to the live one; None where no margin is declared."""
    if margin is None or evidence.live is None or metric not in evidence.live:
        return None
    return gate.better_by(evidence.live[metric], margin, fewest)


def not_worse_than_uncalibrated(evidence: Evidence, margin: float, fewest: int) -> Check | None:
    """Check that calibration raises the log loss by less than `margin`, as a share.

    A calibration fitted on one month can be wrong for the next, and no measure of ranks would show it.
    """
    if evidence.uncalibrated is None:
        return None
    return gate.better_by(evidence.uncalibrated, margin, fewest)


def within_limit(metric: str, evidence: Evidence, limit: float | None, fewest: int) -> Check | None:
    """Check that a figure of this model is at most `limit`; None where no limit is declared."""
    if limit is None or metric not in evidence.bounded:
        return None
    return gate.at_most(evidence.bounded[metric], limit, fewest)


GATES = (
    Gate(gate.PRIOR, ("clusters",), better_than_prior),
    Gate("better than the linear baseline", ("linear_margin", "clusters"), better_than_linear),
    Gate("not worse than uncalibrated", ("calibration_margin", "clusters"), not_worse_than_uncalibrated),
    Gate("well calibrated", ("calibration_error", "clusters"), partial(within_limit, CALIBRATION)),
    Gate("within the costs", ("cost", "clusters"), partial(within_limit, COST)),
    Gate(gate.LIVE, (MARGINS[HEADLINE], "clusters", "replaces"), not_worse_than_live),
    Gate(f"{gate.LIVE} in log loss", (MARGINS[LOG_LOSS], "clusters"), partial(no_worse_metric, LOG_LOSS)),
    Gate(f"{gate.LIVE} in calibration", (MARGINS[CALIBRATION], "clusters"), partial(no_worse_metric, CALIBRATION)),
    Gate(f"{gate.LIVE} in cost", (MARGINS[COST], "clusters"), partial(no_worse_metric, COST)),
)
