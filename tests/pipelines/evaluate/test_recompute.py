"""Whoever has the stored predictions decides the gates again, to the last digit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contract.files import canonical_json
from pipelines.params.params import Evaluate, Gates, TargetParams
from pipelines.stages.evaluate.gates import decision
from pipelines.stages.evaluate.gates.figures import Given
from pipelines.stages.evaluate.gates.predictions import Predictions

RANDOM = np.random.default_rng(2)
ROWS = 900
DAYS = np.sort(RANDOM.integers(0, 30, ROWS))
LABELS = ["no", "yes", "perhaps"]


def predictions(kind: str) -> tuple[Predictions, dict[str, Any]]:
    """Predictions of a model, two baselines and a live model, for a target of this task."""
    if kind == "binary":
        truth = RANDOM.random(ROWS)
        outcomes = (RANDOM.random(ROWS) < truth).astype(np.int8)
        scores = {
            "model": truth,
            "linear": (truth + RANDOM.random(ROWS)) / 2,
            "prior": np.full(ROWS, 0.5),
            "recalibrated": truth**2,
        }
        target = {"labels": LABELS[:2]}
    elif kind == "multiclass":
        truth = RANDOM.dirichlet([1, 1, 1], ROWS)
        outcomes = np.array([RANDOM.choice(3, p=chances) for chances in truth])
        scores = {
            "model": truth,
            "linear": (truth + RANDOM.dirichlet([1, 1, 1], ROWS)) / 2,
            "prior": np.full((ROWS, 3), 1 / 3),
        }
        target = {"labels": LABELS}
    else:
        truth = RANDOM.normal(0, 1, ROWS)
        outcomes = truth + RANDOM.normal(0, 1, ROWS)
        scores = {"model": truth, "linear": truth / 2, "prior": np.zeros(ROWS)}
        target = {}
    scores = {name: np.asarray(values, np.float64) for name, values in scores.items()}
    unseen = np.arange(ROWS) % 10 > 0
    live = scores["linear"]
    return Predictions(outcomes, DAYS, scores | {"live": live}, unseen), {"column": "answer", "task": kind, **target}


def given(target: dict[str, Any], **gates: Any) -> Given:
    count = len(target.get("labels", ()))
    matrix = [[0 if actual == answer else actual + 1 for answer in range(count)] for actual in range(count)]
    evaluate = {"bootstrap": 200} | ({"decisions": {"costs": matrix, "currency": "EUR"}} if count else {})
    return Given(
        TargetParams.model_validate(target), Evaluate.model_validate(evaluate), Gates(**gates), 7, "days", 5, "ab" * 32
    )


@pytest.mark.parametrize("kind", ["binary", "multiclass", "regression"])
def test_decision_from_the_written_table_has_the_same_bytes(kind: str, tmp_path: Path) -> None:
    found, target = predictions(kind)
    first = canonical_json(decision.decide(found, given(target)))
    assert b"NaN" not in first
    found.write(tmp_path / "predictions.parquet")
    again = Predictions.read(tmp_path / "predictions.parquet")
    stored = json.loads(first)
    assert canonical_json(decision.decide(again, Given.from_json(stored["given"]))) == first
    assert stored["verdict"] == "approved"
    assert {name for name, _ in stored["compared"].items()} == {
        "binary": {"headline", "log_loss", "calibration_error", "cost"},
        "multiclass": {"headline", "calibration_error", "cost"},
        "regression": {"headline"},
    }[kind]
    assert stored["compared"]["headline"]["unseen"] == 0.9
    assert stored["compared"]["headline"]["rows"] == 810
    shown = {
        "binary": {
            "roc_auc", "pr_auc", "log_loss", "brier", "calibration_error", "precision", "recall", "cost", "best_cost", "saved",
        },
        "multiclass": {"roc_auc", "accuracy", "log_loss", "calibration_error", "cost", "best_cost", "saved"},
        "regression": {"rmse", "mae", "r2"},
    }[kind]  # fmt: skip
    assert stored["figures"].keys() == shown
    for figure in stored["figures"].values():
        assert figure["lower_bound"] <= figure["figure"] <= figure["upper_bound"]
    saved = [stored["figures"].get(name, {}).get("figure", 0) for name in ("saved", "cost", "best_cost")]
    assert saved[0] == pytest.approx(saved[1] - saved[2])
    assert stored["best_threshold"] == (pytest.approx(1 / 3) if kind == "binary" else None)


def test_hold_out_of_one_day_is_undecided_and_never_a_number_that_is_none() -> None:
    found, target = predictions("binary")
    one_day = Predictions(found.outcomes, np.zeros(ROWS, np.int64), found.scores, found.unseen)
    decided = decision.decide(one_day, given(target, calibration_error=0.5))
    assert (decided["verdict"], decided["approved"]) == ("held", False)
    assert {check["verdict"] for check in decided["checks"]} == {"undecided"}
    assert b"NaN" not in canonical_json(decided)


def test_model_that_answers_nobody_with_the_positive_label_has_no_precision() -> None:
    found, target = predictions("binary")
    shy = Predictions(found.outcomes, found.clusters, found.scores | {"model": found.scores["model"] / 4}, found.unseen)
    figures = decision.decide(shy, given(target))["figures"]
    assert ("precision" in figures, figures["recall"]["figure"]) == (False, 0)
