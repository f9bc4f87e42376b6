"""The page `reports/costs.html`: the runs for people, one file that loads nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pipelines.commands.costs import text
from pipelines.commands.costs.prices import money
from pipelines.commands.costs.runs import Graph, Run, names, total
from pipelines.data import pages
from pipelines.params.params import Params


def render(params: Params, found: Sequence[Run], stages: Graph, predictions: dict[str, Any] | None) -> str:
    """Return the page; the same input gives the same bytes."""
    return pages.render(
        Path(__file__).with_name("page.html.j2"),
        name=params.name,
        prices=params.costs,
        runs=list(found),
        stages=names(found, stages),
        by_stage=text.by_stage,
        money=lambda cost: f"{money(cost, params.costs):.5f}",
        spent=total(run.total for run in found),
        saved=total(run.total_saved for run in found),
        longest=max((run.total + run.total_saved).cpu_s for run in found) or 1,
        beside=text.beside(found, params.costs, predictions),
    )
