"""The verdict on a model, from the checks of all gates, and each check in words; pure functions.

A check has a figure with one-sided 95 % bounds and a limit. Most figures are paired differences on the hold-out, above 0 where this
model is the better one (`pipelines.statistics.comparisons`). Its verdict is one of

passed         even the worse bound meets the limit
failed         even the better bound does not
undecided      the limit lies between the bounds, or the bounds rest on too few clusters
not compared   the live model cannot be judged on this hold-out
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pipelines.statistics.tasks import Judgement

Check = dict[str, Any]
Verdict = Literal["approved", "held", "rejected"]
PASSED, FAILED, UNDECIDED, NOT_COMPARED = "passed", "failed", "undecided", "not compared"
PRIOR, LIVE = "better than the prior", "not worse than the live model"


def weakness(checks: Sequence[Check], judgement: Judgement) -> list[str]:
    """Return a warning if the model beats the prior by less than a medium effect, or not at all; no check requires more."""
    better = next((check for check in checks if check["name"] == PRIOR and check["verdict"] != FAILED), None)
    if better is None or better["figure"] >= judgement.medium:
        return []
    saved = better["figure"]
    sign, start = (1.0, 0.5) if judgement.by_auc else (1.0 if saved > 0 else -1.0, 0.0)
    form = "{:.3f}" if judgement.by_auc else "{:.1%}"
    low, high = sorted(start + sign * better[name] for name in ("lower_bound", "upper_bound"))
    is_enough = better["clusters"] >= better["fewest"]
    bounds = f"{form.format(low)} to {form.format(high)}" if is_enough else f"too few {better['unit']} for bounds"
    figure = f"{form.format(start + sign * saved)} ({bounds})"
    if judgement.by_auc:
        told = f"ROC-AUC {figure}"
    else:
        told = (
            f"it saves {figure} of the {judgement.compared}" if saved > 0 else f"{judgement.compared} {figure} higher"
        )
    than = "hardly better" if saved > 0 else "no better"
    return [f"{than} than the prior, which uses no feature: {told}; are important features missing?"]


def verdict(checks: Sequence[Check], undecided: str) -> Verdict:
    """Return `rejected` if a check failed, else `approved` if all passed or were accepted.

    Args:
        undecided: what one that did not decide means: `hold` for a person, `reject` or `approve`.
    """
    found = {check["verdict"] for check in checks if not check.get("accepted")}
    if FAILED in found or (UNDECIDED in found and undecided == "reject"):
        return "rejected"
    return "approved" if found <= ({PASSED, UNDECIDED} if undecided == "approve" else {PASSED}) else "held"


def counts(checks: Sequence[Check]) -> dict[str, int]:
    """Return the number of checks by verdict, for `metrics.json`."""
    found = [check["verdict"] for check in checks]
    return {name.replace(" ", "_"): found.count(name) for name in (PASSED, FAILED, UNDECIDED, NOT_COMPARED)}


def reason(check: Check) -> str:
    """Return a check as text: the measured figure, its bounds, and the condition."""
    if check["verdict"] == NOT_COMPARED:
        accepted = "; accepted by gates.replaces" if check["accepted"] else ""
        return f"{check['name']}: not compared, because {'; '.join(check['because'])}{accepted}"
    if check.get("splits") == 0:
        return (
            f"{check['name']}: nothing to learn: no tree has a split, so every row gets the same score; add features that predict "
            "the target, add rows, or lower train.min_child_weight"
        )
    if check["figure"] is None:
        return f"{check['name']}: {check['because']}; undecided; required: {check['asks']}"
    over = f"over {check['clusters']:,} {check['unit']}"
    bounds = (
        f"95 % bounds {_written(check, 'lower_bound')} and {_written(check, 'upper_bound')} {over}"
        if check["clusters"] >= check["fewest"]
        else f"{over}, too few for bounds (gates.clusters: {check['fewest']})"
    )
    unseen = (
        f", on the {check['unseen']:.1%} of the hold-out that the live model was not trained on"
        if "unseen" in check
        else ""
    )
    undecided = "undecided; " if check["verdict"] == UNDECIDED else ""
    figure = f"{check['measure']} {_written(check, 'figure')}"
    return f"{check['name']}: {figure}, {bounds}{unseen}; {undecided}required: {check['asks']}"


def _written(check: Check, name: str) -> str:
    return f"{check[name]:+.4f}" if check["is_difference"] else f"{check[name]:.4f}"


def summary(checks: Sequence[Check], digest: str | None) -> str:
    """Return one line: the number of checks that passed, and the live model that was compared."""
    passed = f"{sum(check['verdict'] == PASSED for check in checks)} checks passed"
    if open_ := sum(check["verdict"] == UNDECIDED for check in checks):
        passed += f", {open_} undecided"
    if digest is None:
        return f"{passed}; no live model to compare with"
    if any(check["verdict"] == NOT_COMPARED for check in checks):
        return f"{passed}; NOT compared with the live model {digest[:12]}"
    return f"{passed}; compared with the live model {digest[:12]}"


def remedy(check: Check, digest: str | None) -> str:
    """Return the next step of a person after a check that did not decide."""
    if check["verdict"] == UNDECIDED:
        few = "; or, if so few clusters are enough, lower gates.clusters" if check["clusters"] < check["fewest"] else ""
        return (
            f"hold out more rows (split.holdout){few}; or, after judging the model by other means, release it with "
            "gates.undecided: approve in params.yaml"
        )
    named = (digest or "")[:12]
    return (
        "undo the change that prevents the comparison; or, after judging the new model by other means, set "
        f'gates.replaces: "{named}" in params.yaml: it may then replace this live model, and no other, without a comparison'
    )


def without_figure(because: str, asks: str, fewest: int) -> Check:
    """Return the check of a figure that these rows do not have."""
    return {"verdict": UNDECIDED, "asks": asks, "because": because, "figure": None, "clusters": 0, "fewest": fewest}


def better_by(comparison: Mapping[str, Any], margin: float, fewest: int, *, suffices: bool = False) -> Check:
    """Return the check that a difference is above `-margin`: with a margin of 0 superiority, else non-inferiority.

    A bound over fewer than `fewest` clusters is too narrow, and decides nothing.

    Args:
        suffices: whether the measured difference passes, without confidence, over enough clusters.

    Source: Piaggio et al. 2012, Reporting of Noninferiority and Equivalence Randomized Trials; of few clusters, Cameron, Gelbach, Miller
    2008, Bootstrap-Based Improvements for Inference with Clustered Errors.
    """
    limit = -margin if margin else 0.0
    named = "figure" if suffices else "lower_bound"
    asks = f"a difference above {limit:g}" if suffices else f"a lower bound above {limit:g}"
    passed, failed = comparison[named] > limit, comparison["upper_bound"] <= limit
    return _decided(passed, failed, asks, comparison, fewest, margin=margin, is_difference=True)


def at_most(measured: Mapping[str, Any], limit: float, fewest: int) -> Check:
    """Return the check that a figure is at most `limit`, with 95 % confidence."""
    passed, failed = measured["upper_bound"] <= limit, measured["lower_bound"] > limit
    return _decided(
        passed, failed, f"an upper bound of at most {limit:g}", measured, fewest, margin=limit, is_difference=False
    )


def _decided(
    passed: bool,
    failed: bool,
    asks: str,
    evidence: Mapping[str, Any],
    fewest: int,
    *,
    margin: float,
    is_difference: bool,
) -> Check:
    is_enough = evidence["clusters"] >= fewest
    found = UNDECIDED if not is_enough else PASSED if passed else FAILED if failed else UNDECIDED
    return {
        "verdict": found,
        "asks": asks,
        "margin": margin,
        "fewest": fewest,
        "is_difference": is_difference,
        **evidence,
    }
