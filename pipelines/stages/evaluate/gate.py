"""The verdict on a model, from the checks of all gates, and each check in words; pure functions.

Most checks are paired differences on the hold-out, above 0 where this model is the better one (see
`pipelines.statistics.comparisons`). Each has one of these verdicts:

passed, failed   its condition holds, or does not
undecided        its condition holds, but its bound rests on too few clusters
not compared     the live model cannot be judged on this hold-out
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pipelines.statistics.tasks import Judgement

Check = dict[str, Any]
Verdict = Literal["approved", "held", "rejected"]
PASSED, FAILED, UNDECIDED, NOT_COMPARED = "passed", "failed", "undecided", "not compared"
PRIOR, LIVE = "better than the prior", "not worse than the live model"
_UNITS = ("days", "entities", "rows")


def weakness(checks: Sequence[Check], judgement: Judgement) -> list[str]:
    """Return a warning if the model beats the prior by less than a medium effect; no check requires more."""
    better = next((check for check in checks if check["name"] == PRIOR and check["verdict"] != FAILED), None)
    if better is None or better["difference"] >= judgement.medium:
        return []
    told = (
        f"ROC-AUC {0.5 + better['difference']:.3f}"
        if judgement.by_auc
        else f"it saves {better['difference']:.1%} of the {judgement.compared}"
    )
    return [f"hardly better than the prior, which uses no feature: {told}; are important features missing?"]


def verdict(checks: Sequence[Check]) -> Verdict:
    """Return `rejected` if a check failed, `held` for a person if one did not decide, else `approved`."""
    if any(check["verdict"] == FAILED for check in checks):
        return "rejected"
    return "approved" if all(check["verdict"] == PASSED or check.get("accepted") for check in checks) else "held"


def counts(checks: Sequence[Check]) -> dict[str, int]:
    """Return the number of checks by verdict, for `metrics.json`."""
    found = [check["verdict"] for check in checks]
    return {name.replace(" ", "_"): found.count(name) for name in (PASSED, FAILED, UNDECIDED, NOT_COMPARED)}


def reason(check: Check, judgement: Judgement) -> str:
    """Return a check as text: the measured figure, its bound, and the condition."""
    if check["verdict"] == NOT_COMPARED:
        accepted = "; accepted by gates.replaces" if check["accepted"] else ""
        return f"{check['name']}: not compared, because {'; '.join(check['because'])}{accepted}"
    if "told" in check:
        return f"{check['name']}: {check['told']}; required: {check['asks']}"
    if check.get("splits") == 0:
        return (
            f"{check['name']}: nothing to learn: no tree has a split, so every row gets the same score; add features that predict "
            "the target, add rows, or lower train.min_child_weight"
        )
    unit = next(unit for unit in _UNITS if unit in check)
    over = f"over {check[unit]} {unit}"
    compared = (
        f"difference in {judgement.compared}"
        if judgement.by_auc and "compared" not in check
        else f"share of the other's {check.get('compared', judgement.compared)} saved"
    )
    bound = (
        f"95 % lower bound {check['lower_bound']:+.4f} {over}"
        if check[unit] >= check["fewest"]
        else f"{over}, too few for a bound (gates.clusters: {check['fewest']})"
    )
    unseen = (
        f", on the {check['unseen']:.1%} of the hold-out that the live model was not trained on"
        if "unseen" in check
        else ""
    )
    undecided = "undecided; " if check["verdict"] == UNDECIDED else ""
    return (
        f"{check['name']}: {compared} {check['difference']:+.4f}, {bound}{unseen}; {undecided}required: {check['asks']}"
    )


def summary(checks: Sequence[Check], digest: str | None) -> str:
    """Return one line: the number of checks that passed, and the live model that was compared."""
    passed = f"{sum(check['verdict'] == PASSED for check in checks)} checks passed"
    if digest is None:
        return f"{passed}; no live model to compare with"
    if any(check["verdict"] == NOT_COMPARED for check in checks):
        return f"{passed}; NOT compared with the live model {digest[:12]}"
    return f"{passed}; compared with the live model {digest[:12]}"


def remedy(check: Check, digest: str | None) -> str:
    """Return the next step of a person after a check that did not decide."""
    if check["verdict"] == UNDECIDED:
        return (
            "hold out more rows (split.holdout); or, if so few clusters are enough, lower gates.clusters in params.yaml"
        )
    named = (digest or "")[:12]
    return (
        "undo the change that prevents the comparison; or, after judging the new model by other means, set "
        f'gates.replaces: "{named}" in params.yaml: it may then replace this live model, and no other, without a comparison'
    )


def bounded(asks: str, passed: bool, comparison: Mapping[str, Any], fewest: int) -> Check:
    """Return a check by a confidence bound; a pass over fewer than `fewest` clusters is undecided.

    A bound over few clusters is too narrow: what fails by it would fail by a right one too, what passes may not.

    Source: Cameron, Gelbach, Miller 2008, Bootstrap-Based Improvements for Inference with Clustered Errors.
    """
    clusters = next(comparison[unit] for unit in _UNITS if unit in comparison)
    found = (PASSED if clusters >= fewest else UNDECIDED) if passed else FAILED
    return {"verdict": found, "asks": asks, "fewest": fewest, **comparison}


def decided(passed: bool, asks: str) -> Check:
    """Return a check that passed or failed by the condition `asks`, without a bound.

    Add `told`, a text, where the check rests on another figure than a difference.
    """
    return {"verdict": PASSED if passed else FAILED, "asks": asks}
