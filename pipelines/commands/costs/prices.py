"""Money: CPU time and memory at the prices of `params.yaml`."""

from __future__ import annotations

from typing import Any

from pipelines.commands.costs.ledger import Cost
from pipelines.commands.costs.runs import Run
from pipelines.params.params import Costs


def money(cost: Cost, prices: Costs) -> float:
    """Return the price of a cost; memory counts at its peak for the whole time of its process."""
    return cost.cpu_s / 3600 * prices.cpu_hour + cost.gb_hours * prices.gb_hour


def of_predictions(rehearsal: dict[str, Any], prices: Costs) -> dict[str, float] | None:
    """Return CPU seconds and money of 1,000 predictions, as the rehearsal measured them over HTTP; None if it did not.

    One after the other they keep the server's memory for as long as their CPU time.
    """
    if "cpu_s_per_1000" not in rehearsal:
        return None
    cpu_s = rehearsal["cpu_s_per_1000"]
    cost = Cost(cpu_s, cpu_s, rehearsal["memory_mb"], rehearsal["memory_mb"] / 1000 * cpu_s / 3600)
    return {"cpu_s": cpu_s, "money": money(cost, prices)}


def figures(cost: Cost, prices: Costs) -> dict[str, float]:
    """Return a cost for JSON."""
    return {
        "cpu_s": round(cost.cpu_s, 3),
        "wall_s": round(cost.wall_s, 2),
        "peak_mb": round(cost.peak_mb, 1),
        "money": round(money(cost, prices), 8),
    }


def as_dict(run: Run, prices: Costs) -> dict[str, Any]:
    """Return a run for JSON: by stage, in total, and what the cache saved."""
    return {
        "run": run.name,
        "label": run.label,
        "started": run.started,
        "outcome": run.outcome,
        "stages": {stage: figures(cost, prices) for stage, cost in run.spent.items()},
        "cached": {stage: figures(cost, prices) if cost else None for stage, cost in run.saved.items()},
        "total": figures(run.total, prices),
        "saved": figures(run.total_saved, prices),
    }
