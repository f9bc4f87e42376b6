"""The verdict on a model, from the checks of all gates, and each check in words; pure functions.

Most checks are paired differences on the hold-out, above 0 where this model is the better one (see
`pipelines.statistics.comparisons`). Each has one of these verdicts:

passed, failed   by what it asks
undecided        it would pass, but its bound rests on too few clusters
not compared     the live model cannot be judged on this hold-out
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pipelines.statistics.tasks import JUDGEMENTS

Check = dict[str, Any]
Verdict = Literal["approved", "held", "rejected"]
PASSED, FAILED, UNDECIDED, NOT_COMPARED = "passed", "failed", "undecided", "not compared"
PRIOR, LIVE = "better than the prior", "not worse than the live model"
_UNITS = ("days", "entities", "rows")


def weakness(checks: Sequence[Check], task: str) -> list[str]:
    """What to know of a model that is better than the prior, but by less than a medium effect; no check asks for more."""
    better = next((check for check in checks if check["name"] == PRIOR and check["verdict"] != FAILED), None)
    judgement = JUDGEMENTS[task]
    if better is None or better["difference"] >= judgement.medium:
        return []
    told = (
        f"ROC-AUC {0.5 + better['difference']:.3f}"
        if judgement.by_auc
        else (f"it saves {better['difference']:.1%} of the {judgement.compared}")
    )
    return [f"hardly better than the prior, which knows no feature: {told}; are the features that matter left out?"]


def verdict(checks: Sequence[Check]) -> Verdict:
    """Rejected if a check failed; held for a person if one could not decide; else approved."""
    if any(check["verdict"] == FAILED for check in checks):
        return "rejected"
    return "approved" if all(check["verdict"] == PASSED or check.get("accepted") for check in checks) else "held"


def counts(checks: Sequence[Check]) -> dict[str, int]:
    """How many checks have each verdict, for `metrics.json`."""
    found = [check["verdict"] for check in checks]
    return {name.replace(" ", "_"): found.count(name) for name in (PASSED, FAILED, UNDECIDED, NOT_COMPARED)}


def reason(check: Check, task: str) -> str:
    """A check in words."""
    if check["verdict"] == NOT_COMPARED:
        accepted = "; accepted by gates.replaces" if check["accepted"] else ""
        return f"{check['name']}: not compared, because {'; '.join(check['because'])}{accepted}"
    if "told" in check:
        return f"{check['name']}: {check['told']}; asked was {check['asks']}"
    if check.get("splits") == 0:
        return (
            f"{check['name']}: there was nothing to learn: no tree has a split, and every row gets the same score; give features "
            "that tell of the target, more rows, or a smaller train.min_child_weight"
        )
    unit = next(unit for unit in _UNITS if unit in check)
    over = f"over {check[unit]} {unit}"
    judgement = JUDGEMENTS[task]
    compared = (
        f"difference in {judgement.compared}"
        if judgement.by_auc
        else f"share of the other's {judgement.compared} saved"
    )
    bound = (
        f"95 % lower bound {check['lower_bound']:+.4f} {over}"
        if check[unit] >= check["fewest"]
        else f"{over}, too few for a bound (gates.clusters: {check['fewest']})"
    )
    unseen = f", {check['unseen']:.1%} of the hold-out, all that it has not learned from" if "unseen" in check else ""
    undecided = "undecided; " if check["verdict"] == UNDECIDED else ""
    return (
        f"{check['name']}: {compared} {check['difference']:+.4f}, {bound}{unseen}; {undecided}asked was {check['asks']}"
    )


def summary(checks: Sequence[Check], digest: str | None) -> str:
    """How many checks passed, and what became of the comparison with the live model, in a line."""
    passed = f"{sum(check['verdict'] == PASSED for check in checks)} checks passed"
    if digest is None:
        return f"{passed}; no live model to compare with"
    if any(check["verdict"] == NOT_COMPARED for check in checks):
        return f"{passed}; NOT compared with the live model {digest[:12]}"
    return f"{passed}; compared with the live model {digest[:12]}"


def remedy(check: Check, digest: str | None) -> str:
    """What a person does about a check that did not decide."""
    if check["verdict"] == UNDECIDED:
        return (
            "hold out more (split.holdout), or lower gates.clusters in params.yaml if a person takes so few for enough"
        )
    named = (digest or "")[:12]
    return (
        "take back what keeps them apart; or, once a person has judged the new model otherwise, set "
        f'gates.replaces: "{named}" in params.yaml, which lets it replace this live model, and no other, without the comparison'
    )


def bounded(asks: str, passed: bool, comparison: Mapping[str, Any], fewest: int) -> Check:
    """Return a check by a bound. One over few clusters is too narrow: what fails by it fails all the more, what passes may not.

    Source: Cameron, Gelbach, Miller 2008, Bootstrap-Based Improvements for Inference with Clustered Errors.
    """
    clusters = next(comparison[unit] for unit in _UNITS if unit in comparison)
    found = (PASSED if clusters >= fewest else UNDECIDED) if passed else FAILED
    return {"verdict": found, "asks": asks, "fewest": fewest, **comparison}


def decided(passed: bool, asks: str) -> Check:
    """Return a check that passed or failed by what it asks. Add `told`, a text, where it rests on another figure than a difference."""
    return {"verdict": PASSED if passed else FAILED, "asks": asks}
