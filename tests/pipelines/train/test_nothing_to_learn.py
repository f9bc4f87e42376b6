"""Small tables, and tables without a signal, are trained on; the gate says that there was nothing to learn."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from contract.errors import ModelRejectedError
from pipelines import paths
from pipelines.data import tables
from pipelines.params.params import Params
from pipelines.stages.champion import stage as champion
from pipelines.stages.evaluate import stage as evaluate
from pipelines.stages.features import stage as features
from pipelines.stages.screen import stage as screen
from pipelines.stages.train import stage as train
from tests.pipelines.conftest import RAW

TARGETS = {
    "binary": {"labels": ["no", "yes"]},
    "multiclass": {"labels": ["a", "b", "c"]},
    "regression": {},
}


def _outcomes(task: str, rows: int, share: float) -> pl.Series:
    numbers = np.arange(rows)
    if task == "regression":
        return pl.Series(np.random.default_rng(3).normal(100, 10, rows))
    if task == "multiclass":
        return pl.Series(np.array(["a", "b", "c"])[numbers % 3])
    return pl.Series(np.where(numbers < share * rows, "yes", "no"))


@pytest.mark.parametrize(
    ("task", "rows", "share"),
    [
        ("binary", 200, 0.2),
        ("binary", 133, 0.3),
        ("binary", 240, 0.5),
        ("binary", 100, 0.3),  # hessians that are whole numbers
        ("multiclass", 200, 0),
        ("regression", 100, 0),
    ],
)
def test_gate_says_that_there_was_nothing_to_learn(task: str, rows: int, share: float, workspace: Path) -> None:
    draw = np.random.default_rng(1)
    table = pl.DataFrame(
        {"a": draw.random(rows), "c": draw.choice(["x", "y"], rows), "y": _outcomes(task, rows, share)}
    )
    tables.write(table, paths.accepted("all"))
    columns = {"a": {"kind": "number"}, "c": {"kind": "category"}}
    changes = {
        "data": {"source": RAW["data"]["source"], "months": ["all"], "columns": columns},
        "target": {"column": "y", "task": task, **TARGETS[task]},
        "split": {"kind": "stratified", "holdout": 0.25, "validation": 0.2},
        "features": {"a": {"transform": "value"}, "c": {"transform": "category"}},
        "train": {"seed": 1, "min_child_weight": 50, "max_rounds": 50, "early_stopping_rounds": 10},
        "evaluate": {"bootstrap": 200},
    }
    params = Params.model_validate(RAW | changes)
    for stage in (features, screen, train, champion):
        stage.run(params)
    assert json.loads(paths.TRAINING.read_bytes())["splits"] == 0
    with pytest.raises(ModelRejectedError, match="nothing to learn: no tree has a split") as caught:
        evaluate.run(params)
    assert "train.min_child_weight" in str(caught.value)
    assert "nothing to learn" in paths.EVALUATION.read_text()
