"""The examples: each file of `examples/` on the table that it is for, where `BULKHEAD_EXAMPLES` names a folder with NAME.csv, and
two of them everywhere, on tables that are made from what they declare."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from dvc.utils.serialize import modify_yaml
from numpy.typing import NDArray

from contract.bundle import manifest
from harness import PROJECT
from harness import slice as sliced
from pipelines.params import file as params_file
from pipelines.params.params import Params
from tests.functional.commands import run

EXAMPLES = PROJECT / "examples"
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.yaml"))
# A score of metrics.json, and how good it must be. Where there is a published score, it is that; see examples/README.md.
AT_LEAST = {"adult": ("roc_auc", 0.926), "telco_churn": ("roc_auc", 0.838), "titanic": ("roc_auc", 0.86)}
AT_LEAST |= {"penguins": ("accuracy", 0.97)}
AT_MOST = {"california_housing": ("rmse", 47_730), "bike_sharing_hour": ("mae", 0.05 * 977)}


def _run(directory: Path, name: str) -> dict[str, Any]:
    """From collect to bundle, in a copy of the project in which the table is there; gives the metrics."""
    (directory / "params.yaml").write_bytes((EXAMPLES / f"{name}.yaml").read_bytes())
    sliced.repro(directory)
    assert manifest.verify(directory / "build" / "bundle").name == params_file.load(directory / "params.yaml").name
    metrics: dict[str, Any] = json.loads((directory / "metrics.json").read_bytes())
    return metrics


@pytest.mark.parametrize("name", NAMES)
def test_example_is_valid_and_stays_the_same_when_dvc_rewrites_it(name: str, tmp_path: Path) -> None:
    params = params_file.load(EXAMPLES / f"{name}.yaml")
    assert getattr(params.data.source, "path", None) == f"{name}.csv"  # as examples/run lays it there
    assert f"make example NAME={name} " in (EXAMPLES / "README.md").read_text()
    rewritten = tmp_path / "params.yaml"
    rewritten.write_bytes((EXAMPLES / f"{name}.yaml").read_bytes())
    with modify_yaml(rewritten) as document:  # what `dvc exp run -S` does
        document["train"]["seed"] = params.train.seed
    assert params_file.load(rewritten) == params


@pytest.mark.parametrize("name", NAMES)
def test_example_reaches_its_score_on_the_real_table(name: str, tmp_path: Path) -> None:
    folder = os.environ.get("BULKHEAD_EXAMPLES")
    if folder is None:
        pytest.skip("BULKHEAD_EXAMPLES names no folder with the public tables (examples/README.md)")
    sliced.copy_project(tmp_path)
    (tmp_path / f"{name}.csv").symlink_to(Path(folder).resolve() / f"{name}.csv")
    metrics = _run(tmp_path, name)
    if name in AT_LEAST:
        key, bar = AT_LEAST[name]
        assert metrics[key] >= bar
    else:
        key, bar = AT_MOST[name]
        assert metrics[key] <= bar


@pytest.mark.parametrize("name", ["california_housing", "penguins"])
def test_example_runs_and_is_drawn_on_a_table_as_it_declares(name: str, tmp_path: Path) -> None:
    sliced.copy_project(tmp_path)
    params = params_file.load(EXAMPLES / f"{name}.yaml")
    _table(params).write_csv(tmp_path / f"{name}.csv")
    metrics = _run(tmp_path, name)
    assert metrics["holdout"]["rows"] > 0
    shown = run(tmp_path, "dvc", "plots", "show", "--out", "plots")
    assert (shown.returncode, shown.stderr) == (0, "")
    page = (tmp_path / "plots" / "index.html").read_text()
    drawn = "Residuals" if params.target.task == "regression" else "Confusion matrix"
    assert drawn in page
    assert "Importance of features" in page


def _table(params: Params) -> pl.DataFrame:
    """As many rows as `validate.rows` wants, with the declared columns and values; two features together decide the target, as no
    linear model sees."""
    draw, (rows, _) = np.random.default_rng(7), params.validate_.rows
    columns: dict[str, Any] = {}
    for name, column in params.data.columns.items():
        if column.kind == "number":
            values = draw.uniform(column.minimum or 0, column.maximum or 1000, rows).round(3).astype(object)
        else:
            values = draw.choice(column.values or ["a", "b", "c"], rows).astype(object)
        values[draw.random(rows) < column.missing_budget / 2] = None
        columns[name] = values.tolist()
    numbers = [name for name in params.features if name in columns and params.data.columns[name].kind == "number"]
    first, second = (_rank(columns[name]) for name in numbers[:2])
    together = (first - 0.5) * (second - 0.5) + draw.normal(0, 0.02, rows)
    if params.target.task == "regression":
        outcomes = (1000 * together).round(2)
    else:
        outcomes = np.array(params.target.labels)[(_rank(together.tolist()) * len(params.target.labels)).astype(int)]
    return pl.DataFrame({**columns, params.target.column: outcomes.tolist()})


def _rank(values: list[float | None]) -> NDArray[np.float64]:
    """0 to less than 1; a missing value is the lowest."""
    filled = np.array([-np.inf if value is None else value for value in values])
    return np.argsort(np.argsort(filled)) / len(filled)
