"""The attack on the training rows: chance where nothing was remembered, near certainty where everything was."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contract.errors import DataRejectedError
from contract.schema.tasks import TASKS
from pipelines import paths
from pipelines.data import splits, tables
from pipelines.params.params import Params
from pipelines.stages.champion import stage as champion
from pipelines.stages.evaluate import membership
from pipelines.stages.evaluate import stage as evaluate
from pipelines.stages.features import stage as features
from pipelines.stages.screen import stage as screen
from pipelines.stages.train import stage as train
from pipelines.statistics.tasks import JUDGEMENTS
from tests.pipelines.conftest import write_months

OBJECTIVES: dict[str, dict[str, Any]] = {
    "binary": {"objective": "binary:logistic"},
    "multiclass": {"objective": "multi:softprob", "num_class": 3},
    "regression": {"objective": "reg:squarederror"},
}


def test_attack_auc_is_the_share_of_pairs_in_which_the_member_has_the_smaller_loss() -> None:
    members, others = np.array([0.1, 0.2, 0.9, 0.4]), np.array([0.2, 0.5, 0.3])
    pairs = [(one < other) + 0.5 * (one == other) for one in members for other in others]
    rows = [
        (np.zeros(len(losses)), dict.fromkeys(("model", "linear", "prior"), losses)) for losses in (members, others)
    ]
    judged = replace(JUDGEMENTS["squared_error"], losses=lambda _, losses: losses)
    found = membership.inference(judged, rows[0], rows[1], np.arange(7) % 2, resamples=100, seed=1)["model"]
    assert found["figure"] == pytest.approx(sum(pairs) / 12)
    assert found["lower_bound"] <= found["figure"] <= found["upper_bound"]


@pytest.mark.parametrize("task", OBJECTIVES)
def test_model_that_remembers_noise_is_told_from_baselines_that_cannot(task: str) -> None:
    import xgboost

    draw = np.random.default_rng(9)
    matrix = draw.normal(0, 1, (2000, 4)).astype(np.float32)
    outcomes = (
        draw.normal(0, 1, 2000) if task == "regression" else draw.integers(0, 3 if task == "multiclass" else 2, 2000)
    )
    learned, held = slice(0, 1000), slice(1000, None)
    data = xgboost.DMatrix(matrix[learned], outcomes[learned])
    settings = OBJECTIVES[task] | {"max_depth": 8, "min_child_weight": 0, "nthread": 1}
    booster = xgboost.train(settings, data, 30)
    prior = np.full((2000, 3) if task == "multiclass" else 2000, 1 / 3 if task == "multiclass" else outcomes.mean())

    def scored(part: slice) -> Any:
        model = booster.inplace_predict(matrix[part]).astype(np.float64)
        return outcomes[part], {"model": model, "linear": prior[part], "prior": prior[part]}

    judged = JUDGEMENTS[TASKS[task].objective(None).name]
    found = membership.inference(judged, scored(learned), scored(held), np.arange(2000), resamples=200, seed=1)
    assert found["model"]["lower_bound"] > 0.8
    for name in ("linear", "prior"):
        assert found[name]["lower_bound"] - 0.02 < 0.5 < found[name]["upper_bound"] + 0.02


def test_evaluate_asks_about_the_rows_that_were_learned_from(workspace: Path, params: Params) -> None:
    write_months(workspace)
    features.run(params)
    with pytest.raises(
        DataRejectedError, match="target in disguise"
    ):  # this table is easy; what was measured is there all the same
        screen.run(params)
    for stage in (train, champion, evaluate):
        stage.run(params)
    found = json.loads(paths.METRICS.read_bytes())["membership_inference"]
    parts = tables.read(paths.PARTS)[splits.PART]
    outcomes = tables.outcomes(tables.read_partitions(params.data.months), params.target)
    learned = parts.is_in([splits.TRAINING, splits.VALIDATION]) & outcomes.is_not_null()
    assert found["members"] == learned.sum()
    assert 0.4 < found["roc_auc"] < 1
    assert found["bounds"]["roc_auc"]["lower_bound"] < found["roc_auc"] < found["bounds"]["roc_auc"]["upper_bound"]
    assert found["against"].keys() == {"linear", "prior"}
    assert "Membership inference" in paths.EVALUATION.read_text()
