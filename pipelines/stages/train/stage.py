"""Stage `train`: XGBoost and its baselines, exported to ONNX beside the schema that they read."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from contract.files import canonical_json, write_atomically
from contract.model import reference as training_reference
from contract.model.predictor import MODEL_FILE_NAME, Predictor
from contract.schema import schema as feature_schema
from contract.schema.schema import FeatureSchema
from contract.schema.tasks import TASKS
from pipelines import paths
from pipelines.data import tables
from pipelines.params.params import Params
from pipelines.stages.train import boosting, export, linear, trees
from pipelines.stages.train.reference import reference

# A linear model is exported in single precision from a double-precision fit.
_LINEAR_TOLERANCE = 1e-4


def run(params: Params) -> str:
    """Write `models/boosted`, `models/linear` (each `model.onnx` and `schema.json`), and `training.json`.

    `models/boosted` has `model.ubj` and `reference.json`, too.
    """
    schema = FeatureSchema.from_bytes((paths.FEATURES / feature_schema.FILE_NAME).read_bytes())
    table = tables.read(paths.FEATURES / "train.parquet")
    matrix = np.ascontiguousarray(table.select(schema.feature_names).to_numpy(), dtype=np.float32)
    outcomes = table[tables.LABEL].to_numpy()

    booster, training = boosting.train(matrix, outcomes, table[tables.VALIDATION].to_numpy(), params.train, schema)
    baseline = linear.train(matrix, outcomes, schema)
    training |= {
        "rows": len(outcomes),
        "prior": _prior(outcomes, schema),
        "splits": boosting.splits(booster),
        "importance": boosting.importance(booster, schema.feature_names),
        "export_difference": {
            "boosted": _export_booster(booster, matrix, schema),
            "linear": _export_linear(baseline, matrix, schema),
        },
    }
    write_atomically(paths.TRAINING, canonical_json(training))
    name, value = next((key, value) for key, value in training.items() if key.startswith("validation_"))
    return f"{training['rounds']} rounds on {len(outcomes):,} rows, {name.replace('_', ' ')} {value:.4f}"


def _prior(outcomes: Any, schema: FeatureSchema) -> float | list[float]:
    """What is known without any feature: the positive share, the share of every label, or the mean."""
    if TASKS[schema.task].has_many_labels:
        shares: list[float] = (np.bincount(outcomes, minlength=len(schema.target.labels)) / len(outcomes)).tolist()
        return shares
    return float(outcomes.mean())


def _export_booster(booster: Any, matrix: Any, schema: FeatureSchema) -> float:
    model = _save(paths.BOOSTED, trees.booster_to_onnx(booster, matrix.shape[1]), schema)
    write_atomically(paths.BOOSTED / "model.ubj", bytes(booster.save_raw("ubj")))
    expected, scores = booster.inplace_predict(matrix), model.score_matrix(matrix)
    write_atomically(paths.BOOSTED / training_reference.FILE_NAME, reference(matrix, scores, schema).to_bytes())
    return export.check_parity("boosted", expected, scores, relative=TASKS[schema.task].is_number)


def _export_linear(baseline: Any, matrix: Any, schema: FeatureSchema) -> float:
    model = _save(paths.LINEAR, linear.linear_to_onnx(baseline, schema), schema)
    return export.check_parity(
        "linear",
        linear.scores(baseline, matrix, schema),
        model.score_matrix(matrix),
        _LINEAR_TOLERANCE,
        relative=TASKS[schema.task].is_number,
    )


def _save(directory: Path, model: bytes, schema: FeatureSchema) -> Predictor:
    shutil.rmtree(directory, ignore_errors=True)
    write_atomically(directory / MODEL_FILE_NAME, model)
    write_atomically(directory / feature_schema.FILE_NAME, schema.to_bytes())
    return Predictor.load(directory)
