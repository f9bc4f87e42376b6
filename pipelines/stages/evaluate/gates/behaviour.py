"""The expectations of `evaluate.behaviour`, judged from the stored changes of the score."""

from __future__ import annotations

from typing import Any

import numpy as np

from pipelines.params.judging.behaviour import Behaviour
from pipelines.stages.evaluate.behaviour.trials import against, violated
from pipelines.stages.evaluate.gates import gate
from pipelines.stages.evaluate.gates.figures import Figures
from pipelines.stages.evaluate.gates.gate import Check
from pipelines.statistics import bounds, comparisons
from pipelines.statistics.measures import Scores

_MEASURE = "share of rows that violate it"


def judged(measuring: Figures) -> list[dict[str, Any]]:
    """Return for each expectation the share of rows that violate it, with bounds and a verdict: `reported` where no share is declared."""
    entries, changes = measuring.given.evaluate.behaviour, measuring.predictions.changes
    fewest = measuring.given.gates.clusters
    return [_judged(measuring, entry, found, fewest) for entry, found in zip(entries, changes, strict=True)]


def checks(found: list[dict[str, Any]]) -> list[Check]:
    """Return the checks of the expectations that have an allowed share."""
    left_out = ("allowed", "violations", "largest")
    return [
        {"name": f"behaviour: {entry['name']}", **{key: entry[key] for key in entry if key not in (*left_out, "name")}}
        for entry in found
        if entry["allowed"] is not None
    ]


def _judged(measuring: Figures, expectation: Behaviour, changes: Scores, fewest: int) -> dict[str, Any]:
    figure = _share(measuring, expectation, changes)
    found = {
        "name": expectation.name,
        "allowed": expectation.allowed,
        "violations": int(violated(expectation, changes).sum()),
        "largest": float(np.nanmax(against(expectation, changes))) if figure["rows"] else None,
    }
    if expectation.allowed is None:
        return found | {"verdict": "reported", "asks": "nothing"} | figure
    if not figure["rows"]:
        asks = f"an upper bound of at most {expectation.allowed:g}"
        return found | figure | gate.without_figure("no row of the hold-out could be tried", asks, fewest)
    return found | gate.at_most(figure, expectation.allowed, fewest)


def _share(measuring: Figures, expectation: Behaviour, changes: Scores) -> dict[str, Any]:
    is_tried = ~np.isnan(changes)
    rows = int(is_tried.sum())
    if not rows:
        grounds = {"unit": measuring.given.unit, "clusters": 0, "rows": 0, "resamples": 0, "seed": measuring.given.seed}
        return {"measure": _MEASURE, "figure": None, "lower_bound": None, "upper_bound": None, **grounds}
    clusters = np.unique(measuring.predictions.clusters[is_tried], return_inverse=True)[1]
    is_violated = violated(expectation, changes[is_tried]).astype(np.float64)
    values = comparisons.resampled_means(
        is_violated, clusters, resamples=measuring.resamples, seed=measuring.given.seed
    )
    values = bounds.at_least(values, bounds.exact(int(is_violated.sum()), rows))
    return measuring.bounded(_MEASURE, np.clip(values, 0.0, 1.0), clusters)
