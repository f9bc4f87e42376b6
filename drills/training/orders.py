"""A small project for many runs: generated orders of eighteen months, whose stages take seconds."""

from __future__ import annotations

import calendar
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import polars as pl
import yaml

from harness import workspaces
from harness.workspaces import Workspace
from pipelines.runs import months

ALL = months.span("2025-01", "2026-06")
_ROWS = 1000  # a month
_DEPOTS = ("north", "south", "east")
_GENEROUS = 10_000.0  # of budgets for a rehearsal, many of which share the machine here
PARAMS: dict[str, Any] = {
    "name": "orders",
    "data": {
        "source": {"kind": "files", "path": "orders/*.csv", "version": "1"},
        "months": ALL,
        "time": "at",
        "key": ["order"],
        "columns": {
            "order": {"kind": "identifier"},
            "at": {"kind": "timestamp"},
            "depot": {"kind": "category"},
            "weight": {"kind": "number", "required": False},
        },
    },
    "target": {"column": "outcome", "task": "binary", "labels": ["kept", "broken"]},
    "validate": {"rows": [500, 1500]},
    "split": {"kind": "temporal"},
    "features": {"depot": {"transform": "category"}, "weight": {"transform": "value"}},
    "train": {"seed": 1, "max_rounds": 60, "early_stopping_rounds": 10, "threads": 1},
    "tune": {},
    "evaluate": {},
    "gates": {},
    "serving": {"budget": dict.fromkeys(("ready_s", "p99_ms", "memory_mb"), _GENEROUS)},
}


def project(name: str) -> Workspace:
    """Make a fresh project with the orders of all months, and nothing run yet."""
    made = workspaces.empty(name)
    params = PARAMS | {"data": PARAMS["data"] | {"months": list(ALL)}}
    (made.path / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
    (made.path / "orders").mkdir()
    for month in ALL:
        _orders(month).write_csv(made.path / "orders" / f"{month}.csv")
    made.run("python", "-m", "pipelines.runs", "compile")
    identity = ("-c", "user.name=drill", "-c", "user.email=drill@localhost")
    made.run("git", *identity, "commit", "--quiet", "--all", "--message=Orders")
    return made


def _orders(month: str) -> pl.DataFrame:
    first = datetime.strptime(month, "%Y-%m")
    minutes = calendar.monthrange(first.year, first.month)[1] * 24 * 60
    draw = np.random.default_rng(first.year * 12 + first.month)
    weight = draw.gamma(2, 3, _ROWS).round(1)
    depot = draw.choice(_DEPOTS, _ROWS)
    # No line through the weight says it, so the model is better than the linear baseline, as the gates want.
    broken = draw.random(_ROWS) < 1 / (1 + np.exp(1.2 - 3 * np.cos(weight) - (depot == "east")))
    return pl.DataFrame(
        {
            "order": [f"{month}-{number:04}" for number in range(_ROWS)],
            "at": [(first + timedelta(minutes=number * minutes // _ROWS)).isoformat() for number in range(_ROWS)],
            "depot": depot,
            "weight": weight,
            "outcome": np.where(broken, "broken", "kept"),
        }
    )
