"""What tests of sources share: sixty days of deliveries, written as CSV, and the partition that `collect` makes of them."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from harness import PROJECT
from pipelines import paths
from pipelines.params.params import Params
from pipelines.stages.collect import stage
from tests.pipelines.conftest import deliveries

ROWS = deliveries(datetime(2024, 1, 1), 60)


def write_csv(table: pl.DataFrame, path: str | Path, **options: Any) -> None:
    table.write_csv(path, datetime_format="%Y-%m-%dT%H:%M:%S", **options)


def collect(raw: dict[str, Any], month: str = "2024-01", **source: Any) -> bytes:
    """The bytes of the partition, after a change of `data.source`."""
    raw["data"]["source"] |= source
    stage.run(Params.model_validate(raw), month)
    return paths.partition(month).read_bytes()


def declare(raw: dict[str, Any], *columns: str) -> None:
    """Declare these columns alone, of those that are declared."""
    raw["data"]["columns"] = {name: raw["data"]["columns"][name] for name in columns}
    raw |= {"features": {"hour": {"transform": "calendar", "input": "promised", "part": "hour"}}, "evaluate": {}}


def rows_of(raw: dict[str, Any], text: str, month: str = "2024-01", **source: Any) -> list[dict[str, Any]]:
    """The rows of the partition made of this text; columns that are declared and not in it are added, empty, and left out."""
    header, *lines = text.splitlines()
    made = {*header.split(","), *raw["data"]["source"].get("combine", {}), *source.get("combine", {})}
    added = [name for name in (*raw["data"]["columns"], raw["target"]["column"]) if name not in made]
    whole = [",".join([header, *added]), *(line + "," * len(added) for line in lines)]
    Path("deliveries.csv").write_text("\n".join(whole) + "\n")
    collect(raw, month, **source)
    return pl.read_parquet(paths.partition(month)).drop(added).to_dicts()


_DYING = """
import runpy, sys
from tests.faults import dying
dying.after(int(sys.argv.pop(1)))
runpy.run_module("pipelines", run_name="__main__")
"""


def start_collect(raw: dict[str, Any], dies_after: int | None = None, **environment: str) -> subprocess.Popen[bytes]:
    """The command itself, in this directory and a process of its own; it writes what it has to say to `stderr.txt`.

    Args:
        dies_after: so many steps of writing, each an fsync or a rename, kill -9 ends it; None for not at all.
    """
    Path("params.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))
    program = ["-m", "pipelines"] if dies_after is None else ["-c", _DYING, str(dies_after)]
    command = [sys.executable, *program, "collect", "2024-01"]
    whole = os.environ | {"PYTHONPATH": str(PROJECT)} | environment
    with Path("stderr.txt").open("wb") as errors:
        return subprocess.Popen(command, env=whole, stdout=subprocess.DEVNULL, stderr=errors)
