"""The table of runs for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipelines.commands.costs.ledger import Cost
from pipelines.commands.costs.prices import money
from pipelines.commands.costs.runs import Graph, Run, base, names, total, whole
from pipelines.params.params import Costs

_COMPARED = 4  # runs side by side
_FLEET = "`bin/fleet costs`: what they cost in the fleet, idle time included."


def render(found: Sequence[Run], stages: Graph, prices: Costs, predictions: dict[str, Any] | None) -> str:
    """Return a line for each run, and the CPU seconds of each stage in the newest ones."""
    rows = [
        (
            "started (UTC)",
            "run",
            "",
            "CPU s",
            "wall s",
            "peak MB",
            prices.currency,
            "saved CPU s",
            f"saved {prices.currency}",
        )
    ]
    for run in found:
        spent, saved = run.total, run.total_saved
        rows.append(
            (
                run.started[:16].replace("T", " "), run.label, "" if run.outcome == "succeeded" else run.outcome,
                f"{spent.cpu_s:,.1f}", f"{spent.wall_s:,.1f}", f"{spent.peak_mb:,.0f}", f"{money(spent, prices):.5f}",
                f"{saved.cpu_s:,.1f}", f"{money(saved, prices):.5f}",
            )
        )  # fmt: skip
    compared = found[-_COMPARED:]
    matrix = [("CPU s by stage", *(run.started[:16].replace("T", " ") for run in compared))]
    matrix += [(name, *(cell(run, name) for run in compared)) for name in names(compared, stages)]
    return "\n".join(
        [
            *_aligned(rows, 3),
            "",
            *_aligned(matrix, 1),
            "",
            "(…): cached, with what it cost when it last ran.",
            beside(found, prices, predictions),
        ]
    )


def cell(run: Run, name: str) -> str:
    """Return the CPU seconds of a stage in a run, those that the cache saved in brackets."""
    spent, saved = by_stage(run, name)
    shown = [f"{spent.cpu_s:,.1f}"] if spent else []
    return " ".join([*shown, f"({saved.cpu_s:,.1f})"] if saved else shown) or "–"


def by_stage(run: Run, name: str) -> tuple[Cost | None, Cost | None]:
    """Return what a stage of `dvc.yaml`, with all its months, cost in a run, and what the cache saved of it."""
    spent = [cost for stage, cost in run.spent.items() if base(stage) == name]
    saved = [cost for stage, cost in run.saved.items() if base(stage) == name and cost]
    return total(spent) if spent else None, total(saved) if saved else None


def beside(found: Sequence[Run], prices: Costs, predictions: dict[str, Any] | None) -> str:
    """Return the cost of 1,000 predictions beside that of the newest run with all that it took from the cache."""
    if predictions is None:
        return "1,000 predictions: unknown until a bundle is published."
    line = f"1,000 predictions, one a request over HTTP: {predictions['cpu_s']:.3f} CPU s, {predictions['money']:.7f} {prices.currency}"
    made = whole(found)
    if made is None or predictions["cpu_s"] <= 0:
        return f"{line}. {_FLEET}"
    equal = made.cpu_s / predictions["cpu_s"] * 1000
    return f"{line}; the newest whole run, had nothing been cached, takes the CPU time of {equal:,.0f} predictions. {_FLEET}"


def _aligned(rows: Sequence[tuple[str, ...]], left: int) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            value.ljust(width) if index < left else value.rjust(width)
            for index, (value, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
