"""The trees as we write them say what XGBoost says, for every form that a booster may have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from contract.errors import ConfigurationError
from contract.model.predictor import Predictor
from contract.schema.schema import Feature, FeatureSchema, Field, Target
from pipelines.models.export import TOLERANCE
from pipelines.models.families.trees import booster_to_onnx

ROWS = 20_000
TASKS = {
    "binary": {"objective": "binary:logistic"},
    "multiclass": {"objective": "multi:softprob", "num_class": 3},
    "regression": {"objective": "reg:squarederror"},
}
FORMS: dict[str, dict[str, Any]] = {
    "trees": {},
    "forests": {"num_parallel_tree": 3, "subsample": 0.5},
    "dart": {"booster": "dart", "rate_drop": 0.3},
    "sets of categories": {"max_cat_to_onehot": 4},
    "given base score": {"base_score": 0.3},
    "nothing to learn": {"min_child_weight": 1e9},
}


@pytest.fixture(scope="module")
def matrix() -> NDArray[np.float32]:
    """Whole numbers, so that many rows lie on a threshold; codes in the last column; and gaps."""
    draw = np.random.default_rng(4)
    values = draw.normal(0, 3, (ROWS, 4)).round()
    values[:, 3] = draw.integers(0, 40, ROWS)
    values[draw.random(values.shape) < 0.1] = np.nan
    return values.astype(np.float32)


def _outcomes(task: str, matrix: NDArray[np.float32]) -> NDArray[np.float32]:
    filled = np.nan_to_num(matrix, nan=2.0)
    effect = filled[:, 0] * filled[:, 1] + filled[:, 3] % 3 + np.isnan(matrix[:, 2])
    if task == "regression":
        return (1000 + 30 * effect).astype(np.float32)
    return np.digitize(effect, [1] if task == "binary" else [-1, 2]).astype(np.float32)


def _booster(settings: dict[str, Any], matrix: NDArray[np.float32], outcomes: Any, **data: Any) -> tuple[Any, Any]:
    import xgboost

    rows = xgboost.QuantileDMatrix(matrix, outcomes, nthread=1, **data)
    return xgboost.train(settings | {"max_depth": 5, "nthread": 1, "seed": 1}, rows, 12), rows


def _scores(content: bytes, matrix: NDArray[np.float32]) -> NDArray[np.float32]:
    from contract.model.runtime import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    scores: NDArray[np.float32] = session.run(None, {"features": matrix})[0]
    return scores


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("task", TASKS)
def test_export_scores_as_xgboost_does(task: str, form: str, matrix: NDArray[np.float32]) -> None:
    kinds = {"feature_types": ["float"] * 3 + ["c"], "enable_categorical": True} if form == "sets of categories" else {}
    booster, rows = _booster(TASKS[task] | FORMS[form], matrix, _outcomes(task, matrix), **kinds)
    has_splits = "split_condition" in str(booster.get_dump(dump_format="json"))
    assert has_splits == (form != "nothing to learn")
    scores = _scores(booster_to_onnx(booster, 4), matrix)
    expected = booster.predict(rows).reshape(ROWS, -1)
    scale = np.abs(expected).max() if task == "regression" else 1.0
    assert scores.shape == expected.shape
    assert np.abs(scores.astype(np.float64) - expected).max() / scale <= TOLERANCE
    if task == "regression" and form != "dart":  # DART weighs each tree's sum; here its leaves are weighed
        assert scores.tobytes() == expected.tobytes()


def test_export_has_a_column_for_each_output(matrix: NDArray[np.float32]) -> None:
    outcomes = _outcomes("regression", matrix)
    booster, rows = _booster(TASKS["regression"], matrix, np.stack([outcomes, outcomes**2], axis=1))
    assert _scores(booster_to_onnx(booster, 4), matrix).tobytes() == booster.predict(rows).tobytes()


@pytest.mark.parametrize("chance", [1e-9, 1e-4, 0.2, 1 - 1e-4])
def test_probabilities_are_right_to_the_last_digits_however_rare_the_label(
    chance: float, matrix: NDArray[np.float32]
) -> None:
    booster, _ = _booster(TASKS["binary"] | {"base_score": chance, "min_child_weight": 1e9}, matrix, np.ones(ROWS))
    scores = _scores(booster_to_onnx(booster, 4), matrix)
    assert scores == pytest.approx(np.full((ROWS, 1), chance), rel=3e-7)
    assert scores.max() <= 1


def test_base_score_may_be_written_as_before_xgboost_3_1(matrix: NDArray[np.float32]) -> None:
    booster, _ = _booster(TASKS["binary"], matrix, _outcomes("binary", matrix))
    model = json.loads(booster.save_raw("json"))
    parameters = model["learner"]["learner_model_param"]
    assert parameters["base_score"].startswith("[")

    class Older:
        def save_raw(self, _: str) -> bytes:
            return json.dumps(model).encode()

    parameters["base_score"] = parameters["base_score"].strip("[]")
    assert booster_to_onnx(Older(), 4) == booster_to_onnx(booster, 4)


def test_scores_are_the_same_alone_and_in_any_batch(tmp_path: Path, matrix: NDArray[np.float32]) -> None:
    booster, _ = _booster(TASKS["binary"], matrix, _outcomes("binary", matrix))
    (tmp_path / "model.onnx").write_bytes(booster_to_onnx(booster, 4))
    fields = tuple(Field(name, "number") for name in "abcd")
    features = tuple(Feature(name, "value", (name,)) for name in "abcd")
    predictor = Predictor(
        tmp_path / "model.onnx", FeatureSchema("m", "binary", Target("y", ("n", "y")), fields, features)
    )
    together = predictor.score_matrix(matrix[:2000])
    for size in (1, 3, 64):
        parts = [predictor.score_matrix(matrix[start : start + size]) for start in range(0, 2000, size)]
        assert np.concatenate(parts)[:2000].tobytes() == together.tobytes()[: 4 * 2000]


def test_what_has_no_export_is_refused_by_name(matrix: NDArray[np.float32]) -> None:
    outcomes = _outcomes("regression", matrix)
    ratios, _ = _booster({"objective": "reg:squaredlogerror"}, matrix, np.abs(outcomes))
    with pytest.raises(ConfigurationError, match="reg:squaredlogerror"):
        booster_to_onnx(ratios, 4)
    together = TASKS["regression"] | {"multi_strategy": "multi_output_tree"}
    vectors, _ = _booster(together, matrix, np.stack([outcomes, outcomes], axis=1))
    with pytest.raises(ConfigurationError, match="one tree for each output"):
        booster_to_onnx(vectors, 4)
