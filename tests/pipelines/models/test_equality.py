"""Every family answers as its library does, on 100,000 rows with gaps and values that training has not seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contract.model.predictor import Predictor
from contract.schema.tasks import TASKS
from pipelines.models.export import check_parity
from pipelines.models.families.registry import FAMILIES
from pipelines.params.train import FAMILIES as SETTINGS
from tests.pipelines.models import toy

ROWS = 100_000
TRAINED = 1_500
# Few trees: the time of a test goes into the rows.
SIZES: dict[str, dict[str, Any]] = {
    "gbtree": {"max_rounds": 15, "subsample": 0.8, "max_depth": 4},
    "dart": {"max_rounds": 6, "max_depth": 4, "rate_drop": 0.5},
    "forest": {"trees": 12, "max_depth": 6},
    "histogram": {"max_rounds": 15, "max_depth": 4},
    "linear": {},
}
CASES = [
    (family, objective)
    for family in FAMILIES
    for objective in toy.OBJECTIVES
    if objective in (SETTINGS[family].objectives or toy.OBJECTIVES)
]


@pytest.mark.parametrize(("family", "objective"), CASES)
def test_export_answers_as_the_library_whatever_the_threads(family: str, objective: str, tmp_path: Path) -> None:
    task, target = toy.OBJECTIVES[objective]
    schema, values = toy.schema(task, **target), toy.matrix(TRAINED, 1)
    rows, module = toy.table(tmp_path / "rows", values, toy.outcomes(task, values)), FAMILIES[family]
    settings = SETTINGS[family].model_validate({"family": family, "seed": 1, **SIZES[family]})
    model, told = module.train(rows, settings, schema)
    content = module.to_onnx(model, schema)
    if "threads" in SETTINGS[family].model_fields:
        for threads in (1, 4):
            again, _ = module.train(rows, settings.model_copy(update={"threads": threads}), schema)
            assert module.to_onnx(again, schema) == content
    assert told.get("splits", 1) > 0
    assert sum(module.importance(model, rows, schema).values()) == pytest.approx(1)
    (tmp_path / "model.onnx").write_bytes(content)
    predictor = Predictor(tmp_path / "model.onnx", schema)
    asked = np.concatenate([values, toy.matrix(ROWS - TRAINED, 2, unknown=family != "linear")])
    expected, scores = module.scores(model, asked, schema), predictor.score_matrix(asked)
    check_parity(family, expected, scores, module.TOLERANCE, relative=TASKS[task].is_number)
    assert len(np.unique(scores)) > 20
    assert np.isfinite(scores).all()
    if not TASKS[task].is_number:
        assert scores.min() >= 0
        assert scores.max() <= 1 + 1e-6
    if task == "quantiles":
        assert (np.diff(scores, axis=1) >= 0).all()
        assert (np.diff(scores, axis=1) > 0).mean() > 0.5


def test_every_objective_is_compared() -> None:
    assert toy.OBJECTIVES.keys() == {objective.name for task in TASKS.values() for objective in task.objectives}
