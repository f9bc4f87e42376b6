"""`metrics.json`: the figures of the evidence, for DVC and for programs, each with its bounds; none where there is too little for them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import polars as pl

from contract.schema.tasks import TASKS
from pipelines.params.params import TargetParams
from pipelines.stages.evaluate.gates import gate

Figures = Mapping[str, Mapping[str, Any]]


def metrics(
    target: TargetParams, approval: Mapping[str, Any], unlabelled: int, times: pl.Series | None
) -> dict[str, Any]:
    """Return the content of `metrics.json`.

    Args:
        approval: `gates.json`.
        unlabelled: rows of the hold-out without an outcome.
        times: of its other rows.
    """
    outcomes, attacks, given = approval["outcomes"], approval["membership"]["figures"], approval["given"]
    plain = partial(_plain, fewest=given["gates"]["clusters"])
    clusters = {given["unit"]: next(iter(outcomes.values()))["clusters"]}
    if TASKS[target.task].has_positive:
        outcomes = {"positive_rate": next(iter(outcomes.values()))}
    months = {} if times is None else {"months": sorted(times.dt.strftime("%Y-%m").unique().to_list())}
    holdout = {
        **clusters,
        "rows": approval["predictions"]["rows"],
        "unlabelled": unlabelled,
        **months,
        **plain(outcomes),
    }
    found = {
        **plain(approval["figures"]),
        "against": {name: plain(figures) for name, figures in approval["baselines"].items()},
        "holdout": holdout,
        "checks": gate.counts(approval["checks"]),
        "membership_inference": {
            "members": approval["membership"]["members"],
            # Of a hold-out of few days no figure is known.
            **plain({"roc_auc": attacks["model"]} if "model" in attacks else {}),
            "against": {name: plain({"roc_auc": attacks[name]}) for name in attacks if name != "model"},
        },
    }
    if approval["recalibration"]:
        found["calibration"] = {name: approval["recalibration"][name] for name in ("in_the_large", "slope")}
    return found


def _plain(figures: Figures, fewest: int) -> dict[str, Any]:
    """Return the figures as numbers, by name, and the `bounds` of those that rest on enough clusters."""
    names = ("lower_bound", "upper_bound")
    bounds = {
        name: {bound: found[bound] for bound in names}
        for name, found in figures.items()
        if found.get("clusters", fewest) >= fewest
    }
    return {**{name: found["figure"] for name, found in figures.items()}, "bounds": bounds}
