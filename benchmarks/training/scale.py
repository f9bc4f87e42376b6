"""The data stages on thirty times the flights beside the flights, by row; and a further month beside one month alone."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import yaml

from benchmarks.results import Bar, Figure, figure
from harness import PROJECT, workspaces
from harness.workspaces import Cost, Workspace

COPIES = 30
ROUNDS = 3
STAGES = ("collect", "validate", "features")
MONTHS: list[str] = yaml.safe_load((PROJECT / "params.yaml").read_text())["data"]["months"]
# The months after them: the first months again, a year later.
NEXT = [f"{int(month[:4]) + 1}{month[4:]}" for month in MONTHS[:ROUNDS]]


def scale() -> list[Figure]:
    """Measure each stage in a process of its own (collect: one a month, as DVC runs it), on one Parquet file a month."""
    collected = _collected()
    costs, rows = {}, {}
    for copies in (1, COPIES):
        workspace = workspaces.empty(f"scale-{copies}", _changes(MONTHS, copies))
        rows[copies] = _write_tables(workspace, collected, MONTHS, copies)
        costs[copies] = {stage: _cost(workspace, stage) for stage in STAGES}
        shutil.rmtree(workspace.path)
    figures = []
    for stage in STAGES:
        small, large = (costs[copies][stage] for copies in (1, COPIES))
        by_row = {copies: costs[copies][stage].wall_s / rows[copies] * 1e6 for copies in rows}
        figures += [
            _figure(f"scale_{stage}", by_row[COPIES], "µs a row", rows[1], by_row[1], Bar("≤", 1)),
            _figure(f"scale_{stage}_peak", large.peak_mb, "MB", rows[1], small.peak_mb, Bar("≤", 2000, of="value")),
        ]
    return figures


def _figure(name: str, value: float, unit: str, rows: int, value_of_rows: float, bar: Bar) -> Figure:
    return figure(name, value, unit, peer=f"{rows:,} rows", peer_value=value_of_rows, benchmark="scale", bar=bar)


def incremental() -> list[Figure]:
    """Measure `dvc repro collect` of a month added to twelve and more, beside that of a table with this month alone.

    Months of 840,000 rows: of a small one, most of either time is DVC's start.
    """
    collected, added, alone = _collected(), [], []
    grown = workspaces.empty("months", _changes(MONTHS, COPIES))
    _write_tables(grown, collected, [*MONTHS, *NEXT], COPIES)
    grown.run("dvc", "repro", "collect")
    for index, month in enumerate(NEXT, start=1):
        workspaces.copied("months", _changes([*MONTHS, *NEXT[:index]], COPIES))
        added.append(grown.run("dvc", "repro", "collect").wall_s)
        single = workspaces.empty("month", _changes([month], COPIES))
        _write_tables(single, collected, [month], COPIES)
        alone.append(single.run("dvc", "repro", "collect").wall_s)
    shutil.rmtree(grown.path)
    ours, peer = median(added), median(alone)
    bar = Bar("≤", 1.25)
    return [figure("incremental", ours, "s", peer="one month alone", peer_value=peer, benchmark="incremental", bar=bar)]


def _collected() -> Path:
    """Return the directory of the collected flights, a Parquet file a month."""
    workspace = workspaces.copied("flights")
    workspace.run("dvc", "repro", "collect")
    return workspace.path / "data" / "partitions"


def _changes(months: Sequence[str], copies: int) -> dict[str, dict[str, Any]]:
    """Return the params of a table whose files lie in `table/`."""
    source = {"kind": "files", "path": "table/{month}.parquet", "version": "1"}
    return {
        "data": {"source": source, "months": list(months)},
        "validate": {"rows": [20_000 * copies, 40_000 * copies]},
    }


def _write_tables(workspace: Workspace, collected: Path, months: Sequence[str], copies: int) -> int:
    """Write the copies of each month one after the other, each with its own flight numbers; return the number of rows."""
    import polars as pl

    rows = 0
    (workspace.path / "table").mkdir()
    for month in months:
        source = month if month in MONTHS else MONTHS[NEXT.index(month)]
        table = pl.read_parquet(collected / f"{source}.parquet")
        if source != month:
            table = table.with_columns(pl.col("scheduled_departure", "scheduled_arrival").dt.offset_by("1y"))
        numbered = [
            table.with_columns(pl.format("{}-{}", "flight", pl.lit(copy)).alias("flight")) for copy in range(copies)
        ]
        pl.concat(numbered).write_parquet(workspace.path / "table" / f"{month}.parquet", compression="zstd")
        rows += table.height * copies
    return rows


def _cost(workspace: Workspace, stage: str) -> Cost:
    """Return the total wall time of a stage's processes, and the highest of their peaks."""
    arguments = [(month,) for month in MONTHS] if stage == "collect" else [()]
    costs = [workspace.run("python", "-m", "pipelines", stage, *argument) for argument in arguments]
    return sum(costs, Cost(0.0, 0.0))
