"""The linear baseline in ONNX is the fitted pipeline, in equal bits for a row alone and in any batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from contract.model.predictor import Predictor
from contract.schema.schema import Feature, FeatureSchema, Field, Target
from pipelines.models.families import linear

ROWS = 4_000
TARGETS = {
    "binary": Target("y", ("no", "yes"), 0.5),
    "multiclass": Target("y", ("a", "b", "c")),
    "regression": Target("y"),
}
CATEGORIES = [f"place {number}" for number in range(60)]
FEATURES = {
    "mixed": ("category", "value", "value", "value", "category"),
    "numbers alone": ("value",) * 5,
    "categories alone": ("category",) * 5,
}


def _schema(task: str, kinds: tuple[str, ...]) -> FeatureSchema:
    names = [f"f{index}" for index in range(len(kinds))]
    return FeatureSchema(
        "m",
        task,
        TARGETS[task],
        tuple(
            Field(name, "category" if kind == "category" else "number") for name, kind in zip(names, kinds, strict=True)
        ),
        tuple(
            Feature(name, kind, (name,), {"categories": CATEGORIES} if kind == "category" else {})
            for name, kind in zip(names, kinds, strict=True)
        ),
    )


def _rows(kinds: tuple[str, ...]) -> NDArray[np.float32]:
    """Years and small numbers, a column without a value, one that is constant, codes up to the one for unknown; gaps in all."""
    draw = np.random.default_rng(8)
    matrix = draw.normal(0, 1, (ROWS, len(kinds)))
    for index, kind in enumerate(kinds):
        if kind == "category":
            matrix[:, index] = draw.integers(0, len(CATEGORIES) + 1, ROWS)
    if kinds[1] == "value":
        matrix[:, 1], matrix[:, 2], matrix[:, 3] = 1990 + matrix[:, 1] * 9, 7, np.nan
    matrix[draw.random(matrix.shape) < 0.1] = np.nan
    return matrix.astype(np.float32)


def _fitted(task: str, features: str) -> tuple[Any, FeatureSchema, NDArray[np.float32]]:
    schema = _schema(task, FEATURES[features])
    matrix = _rows(FEATURES[features])
    effect = (
        np.nan_to_num(matrix[:, 0]) % 7 + np.nan_to_num(matrix[:, 4]) % 5 + np.random.default_rng(2).normal(0, 1, ROWS)
    )
    outcomes = {"binary": effect > 3, "multiclass": np.digitize(effect, [2, 5]), "regression": 1e5 + 1e3 * effect}[task]
    return linear.fit(matrix, outcomes * 1, schema), schema, matrix


@pytest.mark.parametrize("features", FEATURES)
@pytest.mark.parametrize("task", TARGETS)
def test_export_is_the_fitted_pipeline_and_a_row_has_the_same_bits_alone_and_in_any_batch(
    task: str, features: str, tmp_path: Path
) -> None:
    model, schema, matrix = _fitted(task, features)
    (tmp_path / "model.onnx").write_bytes(linear.to_onnx(model, schema))
    predictor = Predictor(tmp_path / "model.onnx", schema)
    together = predictor.score_matrix(matrix)
    expected = linear.scores(model, matrix, schema)
    assert together.shape == expected.shape
    assert np.abs(together - expected).max() <= 1e-6 * max(1.0, np.abs(expected).max())
    for size in (1, 2, 3, 5, 64):
        parts = [predictor.score_matrix(matrix[start : start + size]) for start in range(0, 640, size)]
        scores = np.concatenate(parts)[:640]
        assert scores.tobytes() == together[:640].tobytes()


def test_coefficients_have_six_significant_digits_and_no_noise() -> None:
    numbers = np.array([[123456.7, -0.00123456789, 1e-17, 0.0]])
    assert linear.rounded(numbers).tolist() == [[123457.0, -0.00123457, 0.0, 0.0]]
    model, _, _ = _fitted("binary", "mixed")
    fitted = model.pipeline.steps[-1][1]
    assert linear.rounded(fitted.coef_).tolist() == fitted.coef_.tolist()
    assert fitted.coef_[0, -1] == 0  # of the column without a value
    assert fitted.coef_[0, -2] == 0  # of the constant one


def test_columns_too_many_for_a_hessian_are_fitted_without_one(monkeypatch: pytest.MonkeyPatch) -> None:
    fitted, _, _ = _fitted("multiclass", "mixed")
    monkeypatch.setattr(linear, "_HESSIAN", 10)
    without, _, _ = _fitted("multiclass", "mixed")
    assert without.pipeline.steps[-1][1].solver != fitted.pipeline.steps[-1][1].solver
    assert without.pipeline.steps[-1][1].coef_ == pytest.approx(fitted.pipeline.steps[-1][1].coef_, abs=1e-3)
