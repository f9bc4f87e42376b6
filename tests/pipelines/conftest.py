"""Tiny literal tables: six weeks of a shop's deliveries, described by params like anybody's."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from copy import deepcopy
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from harness import PROJECT, object_stores
from pipelines.params.params import Params

RAW: dict[str, Any] = {
    "name": "deliveries",
    "data": {
        "source": {"kind": "files", "path": "deliveries.csv", "version": "1"},
        "months": ["2024-01", "2024-02", "2024-03"],
        "time": "promised",
        "key": ["order"],
        "columns": {
            "promised": {"kind": "timestamp"},
            "depot": {"kind": "category", "values": ["north", "south"]},
            "distance": {"kind": "number", "unit": "km", "minimum": 0, "maximum": 100},
            "weight": {"kind": "number", "required": False, "missing": 0.5, "minimum": 0},
            "order": {"kind": "identifier"},
        },
    },
    "target": {"column": "outcome", "task": "binary", "labels": ["kept", "broken"], "missing": 0.2},
    "validate": {"rows": [100, 5000]},
    "split": {"kind": "temporal", "holdout": "1mo", "validation": "10d"},
    "features": {
        "depot": {"transform": "category"},
        "distance": {"transform": "value"},
        "weight": {"transform": "log"},
        "hour": {"transform": "calendar", "input": "promised", "part": "hour"},
        "per_kg": {"transform": "ratio", "inputs": ["distance", "weight"]},
        "depot_share": {"transform": "lookup", "input": "depot", "statistic": "share"},
    },
    "train": {"seed": 1, "max_depth": 3, "max_rounds": 60, "early_stopping_rounds": 10},
    "tune": {},
    "evaluate": {"slices": [{"column": "depot"}, {"column": "promised", "part": "hour"}], "bootstrap": 200},
    "gates": {},
    "serving": {},
}


@pytest.fixture
def raw() -> dict[str, Any]:
    """Params as a mapping, to change before parsing."""
    return deepcopy(RAW)


@pytest.fixture
def params(raw: dict[str, Any]) -> Params:
    return Params.model_validate(raw)


@pytest.fixture(scope="session")
def s3() -> Iterator[dict[str, str]]:
    """The environment of a user of S3, one server for all tests: each keeps to a prefix or a bucket of its own."""
    with object_stores.s3() as environment:
        yield environment


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory with the definition of the stages alone, and a bundle store of its own."""
    before = Path.cwd()
    os.chdir(tmp_path)
    shutil.copyfile(PROJECT / "dvc.yaml", "dvc.yaml")
    monkeypatch.setenv("BULKHEAD_STORE", str(tmp_path / "store"))
    yield tmp_path
    os.chdir(before)


def deliveries(start: datetime, days: int, *, learnable: bool = True, noise: float = 0.0) -> pl.DataFrame:
    """Twenty deliveries a day. Long distances are late on even days' hours, so that a tree can see what a line cannot.

    The outcomes of the share `noise` are turned round.
    """
    rows = []
    for index in range(days * 20):
        at = start + timedelta(days=index // 20, minutes=index % 20 * 61)
        distance = float((index * 37) % 100)
        far, odd = distance > 50, at.hour % 2 == 1
        drawn = sha256(str(at).encode()).digest()
        late = (far != odd) != (drawn[1] < 256 * noise) if learnable else drawn[0] < 100
        rows.append(
            {
                "promised": at,
                "depot": "north" if index % 3 else "south",
                "distance": distance,
                "weight": None if index % 4 == 0 else float(index % 9),
                "order": f"order-{at:%Y%m%d}-{index}",
                "outcome": None if index % 50 == 0 else ("broken" if late else "kept"),
            }
        )
    return pl.DataFrame(rows, schema_overrides={"promised": pl.Datetime("us"), "weight": pl.Float64})


def write_months(directory: Path, *, learnable: bool = True, noise: float = 0.0) -> None:
    """The partitions of the three months, as `collect` writes them, all of their rows accepted."""
    for month, days in (("2024-01", 31), ("2024-02", 29), ("2024-03", 31)):
        for kind in ("partitions", "accepted"):
            path = directory / "data" / kind / f"{month}.parquet"
            path.parent.mkdir(parents=True, exist_ok=True)
            deliveries(datetime.strptime(month, "%Y-%m"), days, learnable=learnable, noise=noise).write_parquet(path)
