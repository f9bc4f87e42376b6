"""Stage `train`: XGBoost and its baselines, exported to ONNX beside the schema that they read."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from contract import schema as feature_schema
from contract.files import canonical_json, write_atomically
from contract.predictor import MODEL_FILE_NAME, Predictor
from contract.schema import FeatureSchema
from pipelines import paths, tables
from pipelines.params import Params
from pipelines.train import boosting, export, linear

# A linear model is exported in single precision from a double-precision fit.
_LINEAR_TOLERANCE = 1e-4


def run(params: Params) -> str:
    """Write `models/boosted`, `models/linear` (each `model.onnx` and `schema.json`), `model.ubj` and `training.json`."""
    schema = FeatureSchema.from_bytes((paths.FEATURES / feature_schema.FILE_NAME).read_bytes())
    table = tables.read(paths.FEATURES / "train.parquet")
    validation, _, _ = tables.split_points(params.data.months, params.split)
    matrix = np.ascontiguousarray(table.select(schema.feature_names).to_numpy(), dtype=np.float32)
    labels = table[tables.LABEL].to_numpy()
    is_validation = table.select(pl.col(tables.TIME) >= validation).to_series().to_numpy()

    booster, training = boosting.train(matrix, labels, is_validation, params.train)
    baseline = linear.train(matrix, labels, schema)
    training |= {
        "rows": len(labels),
        "prior": float(labels.mean()),
        "importance": boosting.importance(booster, schema.feature_names),
        "export_difference": {
            "boosted": _export_booster(booster, matrix, schema),
            "linear": _export_linear(baseline, matrix, schema),
        },
    }
    write_atomically(paths.TRAINING, canonical_json(training))
    return f"{training['rounds']} rounds on {len(labels):,} rows, validation log loss {training['validation_log_loss']:.4f}"


def _export_booster(booster: Any, matrix: Any, schema: FeatureSchema) -> float:
    model = _save(paths.BOOSTED, export.booster_to_onnx(booster, matrix.shape[1]), schema)
    write_atomically(paths.BOOSTED / "model.ubj", bytes(booster.save_raw("ubj")))
    return export.check_parity("boosted", booster.inplace_predict(matrix), model.score_matrix(matrix))


def _export_linear(baseline: Any, matrix: Any, schema: FeatureSchema) -> float:
    model = _save(paths.LINEAR, export.linear_to_onnx(baseline, matrix.shape[1]), schema)
    return export.check_parity(
        "linear", baseline.predict_proba(matrix)[:, 1], model.score_matrix(matrix), _LINEAR_TOLERANCE
    )


def _save(directory: Path, model: bytes, schema: FeatureSchema) -> Predictor:
    shutil.rmtree(directory, ignore_errors=True)
    write_atomically(directory / MODEL_FILE_NAME, model)
    write_atomically(directory / feature_schema.FILE_NAME, schema.to_bytes())
    return Predictor.load(directory)
