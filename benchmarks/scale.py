"""Thirty times the flights: time for a row and peak memory of the data's stages, beside the same stages at their real size."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from benchmarks import workspaces
from benchmarks.results import Bar, Figure, figure
from benchmarks.workspaces import CommandFailedError, Workspace

TIMES = 30
KEY = ["scheduled_departure", "carrier", "flight", "origin"]
_PEAK_LIMIT_MB = 2000


@dataclass(frozen=True)
class Run:
    """What a stage took: over all its processes, seconds in sum and memory at most."""

    wall_s: float
    peak_mb: float


def scale() -> list[Figure]:
    """collect, validate and features of twelve months, at 1× and at 30× (10.1 million rows)."""
    params = yaml.safe_load((workspaces.PROJECT / "params.yaml").read_text())
    months = params["data"]["months"]
    one, many = (_workspace(name, params, times) for name, times in (("scale-1", 1), ("scale-30", TIMES)))
    try:
        _collect_flights(one, months)
        rows = _repeat(one, many, months)
        figures: list[Figure] = []
        for stage, arguments in {"collect": months, "validate": [""], "features": [""]}.items():
            small, large = (_run(workspace, stage, arguments) for workspace in (one, many))
            figures += _figures(stage, small, large, rows)
    finally:
        for workspace in (one, many):
            shutil.rmtree(workspace.path, ignore_errors=True)
    return figures


def _workspace(name: str, params: Mapping[str, Any], times: int) -> Workspace:
    """A copy whose source is a Parquet file a month, `times` as long as the real one."""
    rows = [limit * times for limit in params["validate"]["rows"]]
    source = {"kind": "files", "path": "source/*.parquet", "version": f"{times} times the flights"}
    return workspaces.empty(name, {"data": {"source": source}, "validate": {"rows": rows}})


def _collect_flights(workspace: Workspace, months: list[str]) -> None:
    """The real months, collected by the project itself, as the source of both sides."""
    flights = workspaces.empty("scale-flights")
    for month in months:
        flights.run("python", "-m", "pipelines", "collect", month)
    shutil.copytree(flights.path / "data/partitions", workspace.path / "source")
    shutil.rmtree(flights.path)


def _repeat(one: Workspace, many: Workspace, months: list[str]) -> int:
    """Every row thirty times, under flight numbers of its own; returns the number of rows at 1×."""
    target = many.path / "source"
    target.mkdir()
    rows = 0
    for month in months:
        table = pl.read_parquet(one.path / "source" / f"{month}.parquet")
        rows += table.height
        copies = [table.with_columns(pl.col("flight") + f"-{copy}") for copy in range(TIMES)]
        pl.concat(copies).sort(KEY).write_parquet(target / f"{month}.parquet", compression="zstd")
    return rows


def _run(workspace: Workspace, stage: str, arguments: list[str]) -> Run:
    wall_s, peak_mb = 0.0, 0.0
    for argument in arguments:
        command = ["python", "-m", "pipelines", stage, *([argument] if argument else [])]
        started = time.perf_counter()
        log = workspace.path / "var" / f"{stage}.log"
        log.parent.mkdir(exist_ok=True)
        with log.open("wb") as stream:
            process = subprocess.Popen(
                command, cwd=workspace.path, env=workspace.environment, stdout=stream, stderr=stream
            )
            _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise CommandFailedError(f"{' '.join(command)} ended with {process.returncode}:\n{_end(log)}")
        wall_s += time.perf_counter() - started
        peak_mb = max(peak_mb, used.ru_maxrss * 1024 / 1e6)
    return Run(wall_s, peak_mb)


def _end(log: Path) -> str:
    return log.read_text(errors="replace")[-3000:]


def _figures(stage: str, small: Run, large: Run, rows: int) -> list[Figure]:
    peer = f"{rows:,} rows"
    return [
        figure(
            f"scale_{stage}_row",
            large.wall_s / rows / TIMES * 1e6,
            "µs a row",
            peer=peer,
            peer_value=small.wall_s / rows * 1e6,
            benchmark="scale",
            bar=Bar("≤", 1),
        ),
        figure(
            f"scale_{stage}_peak",
            large.peak_mb,
            "MB",
            peer=peer,
            peer_value=small.peak_mb,
            benchmark="scale",
            bar=Bar("≤", _PEAK_LIMIT_MB, of="value"),
        ),
    ]
