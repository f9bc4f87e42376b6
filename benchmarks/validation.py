"""The stage `validate` on ten million rows, beside the same checks as plain DuckDB queries. Both must find the same: nothing."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from benchmarks import workspaces
from benchmarks.pipeline import OtherWorkError
from benchmarks.results import Bar, Figure, figure
from benchmarks.workspaces import PROJECT, Workspace
from pipelines import params_file
from pipelines.validate import suite

COPIES = 30
PEER = "plain DuckDB queries"
# One partition: the hardest case for memory.
CHANGES: dict[str, dict[str, Any]] = {
    "data": {"months": ["all"], "time": None},
    "split": {"kind": "stratified"},
    "validate": {"rows": [10_000_000, 11_000_000]},
    "evaluate": {"slices": []},
}


def validation() -> list[Figure]:
    """Wall time and peak memory of the whole stage, Great Expectations' start and its Data Docs included."""
    workspace = workspaces.empty("validation")
    workspace.run("dvc", "repro", "collect")
    table = _multiplied(workspace)
    workspace = workspaces.copied("validation", CHANGES)
    asked = workspace.path / "asked.json"
    asked.write_text(json.dumps(_asked(workspace.path)))
    script = str(PROJECT / "benchmarks/peers/bare_checks.py")
    bare, printed = workspaces.timed(
        (sys.executable, script, str(table), str(asked)), cwd=workspace.path, env=workspace.environment
    )
    ours = workspace.run("python", "-m", "pipelines", "validate")
    _check_same_work(workspace, json.loads(printed))
    return [
        figure(
            "validation",
            ours.wall_s,
            "s",
            peer=PEER,
            peer_value=bare.wall_s,
            benchmark="validation",
            bar=Bar("≤", 2),
        ),
        figure(
            "validation_peak",
            ours.peak_mb,
            "MB",
            peer=PEER,
            peer_value=bare.peak_mb,
            benchmark="validation",
            bar=Bar("≤", 2000, of="value"),
        ),
    ]


def _multiplied(workspace: Workspace) -> Path:
    """All flights thirty times, each time with flight numbers of their own, as the only partition."""
    import polars as pl

    partitions = workspace.path / "data" / "partitions"
    months = sorted(partitions.glob("*.parquet"))
    copies = [
        pl.scan_parquet(months).with_columns(pl.format("{}-{}", "flight", pl.lit(copy)).alias("flight"))
        for copy in range(COPIES)
    ]
    table = partitions / "all.parquet"
    pl.concat(copies).sink_parquet(table, compression="zstd", maintain_order=True)
    return table


def _asked(workspace: Path) -> list[dict[str, Any]]:
    """The expectations that the stage has Great Expectations check."""
    params = params_file.load(workspace / "params.yaml")
    return suite.expectations(params, "all", [])


def _check_same_work(workspace: Workspace, evidence: dict[str, int]) -> None:
    """Raises OtherWorkError unless both sides checked as many expectations, and none failed."""
    (month,) = json.loads((workspace.path / "reports/validation.json").read_bytes()).values()
    asked = [outcome for outcome in month["expectations"] if outcome["type"].startswith(("expect_", "unexpected_"))]
    ours = {"expectations": len(asked), "failed": sum(not outcome["success"] for outcome in asked)}
    if ours != evidence or ours["failed"]:
        raise OtherWorkError(f"ours: {ours}; the plain queries: {evidence}")
