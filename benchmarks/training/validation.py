"""Validation of ten million rows, beside the same checks as plain DuckDB queries. Both must find no problem."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from benchmarks.results import Bar, Figure, OtherWorkError, figure
from harness import PROJECT, workspaces
from harness.workspaces import Cost, Workspace
from pipelines.params import file as params_file
from pipelines.stages.validate import suite
from pipelines.stages.validate.checks import check_months

COPIES = 30
PEER = "plain DuckDB queries"
HISTORIES = [
    name
    for name, feature in yaml.safe_load((PROJECT / "params.yaml").read_text())["features"].items()
    if feature["transform"] == "history"
]
# One partition, the hardest case for memory.
CHANGES: dict[str, dict[str, Any]] = {
    # Without a time there is no history; validation reads no feature.
    "features": {name: {"transform": "value", "input": "distance"} for name in HISTORIES},
    "data": {"months": ["all"], "time": None},
    "split": {"kind": "stratified", "holdout": 0.2, "validation": 0.2},
    "validate": {"rows": [10_000_000, 11_000_000]},
    "evaluate": {"slices": []},
}


def validation() -> list[Figure]:
    """Measure Great Expectations' part in a process of its own, its start and its Data Docs included; and the whole stage."""
    workspace = workspaces.empty("validation")
    workspace.run("dvc", "repro", "collect")
    table = _multiplied(workspace)
    workspace = workspaces.copied("validation", CHANGES)
    asked = workspace.path / "asked.json"
    asked.write_text(json.dumps(_asked(workspace.path)))
    script = PROJECT / "benchmarks/peers/pipeline/bare_checks.py"
    bare, printed = workspace.say("python", str(script), str(table), str(asked))
    checks, said = workspace.say("python", "-m", "benchmarks.training.validation")
    stage = workspace.run("python", "-m", "pipelines", "validate")
    found, expected = (json.loads(text.splitlines()[-1]) for text in (said, printed))
    if found != expected or found["failed"]:
        raise OtherWorkError(f"both sides must find no problem: ours {said}; the plain queries {printed}")
    bounded = Bar("≤", 2000, of="value")
    return [
        _wall("validation", checks, bare, Bar("≤", 1.5)),
        _peak("validation_peak", checks, bare, bounded),
        _wall("validation_stage", stage, bare, Bar("≤", 2)),
        _peak("validation_stage_peak", stage, bare, bounded),
    ]


def _wall(name: str, ours: Cost, bare: Cost, bar: Bar) -> Figure:
    return figure(name, ours.wall_s, "s", peer=PEER, peer_value=bare.wall_s, benchmark="validation", bar=bar)


def _peak(name: str, ours: Cost, bare: Cost, bar: Bar) -> Figure:
    return figure(name, ours.peak_mb, "MB", peer=PEER, peer_value=bare.peak_mb, benchmark="validation", bar=bar)


def _multiplied(workspace: Workspace) -> Path:
    """Return a workspace with all flights thirty times, each time with their own flight numbers, as the only partition."""
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
    """Return the expectations that the stage passes to Great Expectations."""
    params = params_file.load(workspace / "params.yaml")
    return suite.expectations(params.data, params.target, params.validate_, "all", [])


def _check() -> dict[str, int]:
    """Run the stage's part of Great Expectations in this process's workspace; return its counts."""
    files = {"all": Path("data/partitions/all.parquet")}
    params = params_file.load()
    declared = params.data, params.target, params.validate_
    (outcomes,) = check_months(*declared, files, {"all": 0}, {"all": []}, Path("reports/data_docs")).values()
    return {"expectations": len(outcomes), "failed": sum(not outcome["success"] for outcome in outcomes)}


if __name__ == "__main__":
    print(json.dumps(_check()))
