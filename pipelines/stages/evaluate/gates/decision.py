"""The decision of all gates from predictions and what `params.yaml` says: once in `evaluate`, again by whoever recomputes it."""

from __future__ import annotations

from typing import Any

from pipelines.stages.evaluate.gates import answers, behaviour, calibrated, conditions, gate
from pipelines.stages.evaluate.gates.conditions import HEADLINE, Evidence
from pipelines.stages.evaluate.gates.figures import Figures, Given, share_of
from pipelines.stages.evaluate.gates.predictions import Predictions
from pipelines.stages.evaluate.slices import declared, fairness
from pipelines.statistics import costs
from pipelines.statistics.tasks import judgement

_BASELINES = ("uncalibrated", "linear", "prior")
FORMAT = 6  # also when figures change: whoever decides a bundle again is told of it, and does not blame the bundle


def evidence(measuring: Figures, apart: tuple[gate.Check, ...] = ()) -> Evidence:
    """Return the measurements that the gates judge.

    Args:
        apart: the checks of parts of the hold-out.
    """
    given, predictions, metrics = measuring.given, measuring.predictions, measuring.metrics()
    live = None
    if predictions.unseen is not None:
        live = {name: measuring.compared(*entry, "live", predictions.unseen) for name, entry in metrics.items()}
        if not predictions.unseen.all():
            live[HEADLINE]["unseen"] = float(predictions.unseen.mean())
    return Evidence(
        against={name: measuring.compared(*metrics[HEADLINE], name) for name in ("prior", "linear")},
        live=live,
        not_compared=(given.live, given.because) if given.live is not None and predictions.unseen is None else None,
        splits=given.splits,
        uncalibrated=measuring.compared(share_of("log loss"), measuring.log_losses, "uncalibrated")
        if "uncalibrated" in predictions.scores
        else None,
        bounded=measuring.alone() | answers.answers(measuring) | measuring.of_decisions(),
        apart=apart,
    )


def decide(predictions: Predictions, given: Given) -> dict[str, Any]:
    """Return the verdict, every check, and the figures that no gate limits, as `gates.json` has them."""
    judged = judgement(given.target)
    measuring = Figures(given, predictions, judged)
    by_slice, by_group = declared.section(measuring), fairness.section(measuring)
    found = evidence(measuring, (*declared.checks(by_slice), *fairness.checks(by_group, given.gates)))
    expected = behaviour.judged(measuring)
    checks = conditions.checks(found, given.gates) + behaviour.checks(expected)
    decisions, target = given.evaluate.decisions, given.target
    verdict = gate.verdict(checks, given.gates.undecided)
    return {
        "format": FORMAT,
        "verdict": verdict,
        "approved": verdict == "approved",
        "checks": checks,
        "champion": given.live,
        "compared": dict(found.live or {}),
        "figures": dict(found.bounded),
        "baselines": _baselines(measuring),
        "outcomes": answers.outcomes(measuring),
        "confusion": answers.confusion(measuring),
        "behaviour": expected,
        "recalibration": calibrated.recalibration(measuring),
        "reliability": calibrated.reliability(measuring),
        "best_threshold": costs.best_threshold(decisions.costs) if decisions and len(target.labels) == 2 else None,
        "headline": judged.headline,
        "slices": by_slice,
        "fairness": by_group,
        "weak": gate.weakness(checks, judged),
        "given": given.to_json(),
    }


def _baselines(measuring: Figures) -> dict[str, Any]:
    """Return the figures of the other models; those of the live one, as `champion`, only if it has learned from no row."""
    found = measuring.predictions
    live = {"champion": measuring.alone("live")} if found.unseen is not None and found.unseen.all() else {}
    return live | {name: measuring.alone(name) for name in _BASELINES if name in found.scores}
