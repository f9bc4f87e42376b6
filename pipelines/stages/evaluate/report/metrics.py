"""`metrics.json`: the figures of the evidence, each with its bounds, for DVC and for programs."""

from __future__ import annotations

from collections.abc import Mapping
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
    outcomes, attacks = approval["outcomes"], approval["membership"]["figures"]
    if TASKS[target.task].has_positive:
        outcomes = {"positive_rate": next(iter(outcomes.values()))}
    months = {} if times is None else {"months": sorted(times.dt.strftime("%Y-%m").unique().to_list())}
    holdout = {"rows": approval["predictions"]["rows"], "unlabelled": unlabelled, **months, **_plain(outcomes)}
    found = {
        **_plain(approval["figures"]),
        "against": {name: _plain(figures) for name, figures in approval["baselines"].items()},
        "holdout": holdout,
        "checks": gate.counts(approval["checks"]),
        "membership_inference": {
            "members": approval["membership"]["members"],
            # Of a hold-out of few days no figure is known.
            **_plain({"roc_auc": attacks["model"]} if "model" in attacks else {}),
            "against": {name: _plain({"roc_auc": attacks[name]}) for name in attacks if name != "model"},
        },
    }
    if approval["recalibration"]:
        found["calibration"] = {name: approval["recalibration"][name] for name in ("in_the_large", "slope")}
    return found


def _plain(figures: Figures) -> dict[str, Any]:
    """Return the figures as numbers, by name, and their `bounds`."""
    names = ("lower_bound", "upper_bound")
    bounds = {name: {bound: found[bound] for bound in names} for name, found in figures.items()}
    return {**{name: found["figure"] for name, found in figures.items()}, "bounds": bounds}
