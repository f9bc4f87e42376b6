"""The predictor on a real model: the bundle of BULKHEAD_TEST_BUNDLE."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contract.bundle import manifest
from contract.errors import BundleError, InvalidRowsError
from contract.model.predictor import Predictor


@pytest.fixture(scope="module")
def artifact() -> Path:
    given = os.environ.get("BULKHEAD_TEST_BUNDLE")
    if not given:
        pytest.skip("BULKHEAD_TEST_BUNDLE is not set; `make test` sets it to a bundle that the pipeline built")
    return Path(given) / manifest.ARTIFACT


@pytest.fixture(scope="module")
def predictor(artifact: Path) -> Predictor:
    return Predictor.load(artifact)


@pytest.fixture(scope="module")
def golden(artifact: Path) -> list[dict[str, Any]]:
    cases: list[dict[str, Any]] = json.loads((artifact / "golden.json").read_bytes())
    return cases


def test_answers_are_equal_whatever_the_batch(predictor: Predictor, golden: list[dict[str, Any]]) -> None:
    rows = [case["row"] for case in golden]
    together = predictor.predict(rows * 20)
    assert together == [case["answer"] for case in golden] * 20
    assert [predictor.predict([row])[0] for row in rows] == together[: len(rows)]


def test_table_scores_as_its_rows_do(predictor: Predictor, golden: list[dict[str, Any]]) -> None:
    rows = [case["row"] for case in golden]
    columns = {field.name: [row.get(field.name) for row in rows] for field in predictor.schema.fields}
    scores = predictor.score_table(columns)
    assert (scores.dtype, scores.shape) == (np.float32, (len(rows),))
    assert scores.tolist() == [case["answer"]["probability"] for case in golden]


def test_label_is_positive_from_the_threshold_on(predictor: Predictor, golden: list[dict[str, Any]]) -> None:
    target = predictor.schema.target
    for case in golden:
        positive = case["answer"]["probability"] >= target.threshold
        assert case["answer"]["label"] == target.labels[1 if positive else 0]


@pytest.mark.parametrize("score", [np.nan, np.inf])
def test_score_that_is_no_finite_number_never_gets_out(
    predictor: Predictor, golden: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, score: float
) -> None:
    monkeypatch.setattr(predictor, "_score_one", lambda matrix: np.full((1, 2), score, np.float32))
    with pytest.raises(ArithmeticError, match="NaN or infinite"):
        predictor.predict([golden[0]["row"]])


def test_no_row_gives_no_answer(predictor: Predictor) -> None:
    assert predictor.predict([]) == []


def test_nothing_is_predicted_when_one_row_is_wrong(predictor: Predictor, golden: list[dict[str, Any]]) -> None:
    with pytest.raises(InvalidRowsError) as error:
        predictor.predict([golden[0]["row"], {"no_such_field": 1}])
    assert {problem.row for problem in error.value.problems} == {1}


def test_golden_answers_are_checked_exactly(
    predictor: Predictor, golden: list[dict[str, Any]], artifact: Path, tmp_path: Path
) -> None:
    assert predictor.check_golden(artifact / "golden.json") == len(golden)
    other = tmp_path / "golden.json"
    for spoil in ({"probability": 0.5}, {"label": "?"}, {"probability": golden[0]["answer"]["probability"] + 1e-12}):
        other.write_text(json.dumps([{**golden[0], "answer": {**golden[0]["answer"], **spoil}}]))
        with pytest.raises(BundleError, match="1 of 1 golden answers differ"):
            predictor.check_golden(other)
    for content in ("", "[1]", '[{"row": {}}]'):
        other.write_text(content)
        with pytest.raises(BundleError, match="no valid golden requests"):
            predictor.check_golden(other)


def test_directory_is_refused_when_it_holds_no_model(artifact: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"schema\.json"):
        Predictor.load(tmp_path)
    (tmp_path / "schema.json").write_bytes((artifact / "schema.json").read_bytes())
    with pytest.raises(BundleError, match="no model"):
        Predictor.load(tmp_path)
    (tmp_path / "model.onnx").write_bytes(b"no model")
    with pytest.raises(BundleError, match="not a model"):
        Predictor.load(tmp_path)
