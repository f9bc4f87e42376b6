"""Stage `train`: the model and its linear baseline, exported to ONNX beside the schema that they read."""

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
from pipelines.models import export, progress, tuning
from pipelines.models.calibrated import calibrated
from pipelines.models.families import linear
from pipelines.models.families.registry import FAMILIES
from pipelines.models.family import Family, Matrix, Rows
from pipelines.models.rounds import each
from pipelines.params.params import Params
from pipelines.stages.train.curve import Curve
from pipelines.stages.train.reference import reference


def run(params: Params) -> str:
    """Write `models/boosted`, `models/linear` (each `model.onnx` and `schema.json`), `training.json` and `reports/training`.

    `models/boosted` is the model, of any family; it also has `reference.json` and the files of the library. `models/linear` is its
    baseline. `reports/training` has the validation loss by round.
    """
    schema = FeatureSchema.from_bytes((paths.FEATURES / feature_schema.FILE_NAME).read_bytes())
    rows = Rows(paths.TRAINING_ROWS)
    matrix = rows.matrix

    family, tuned = calibrated(FAMILIES[params.train.family], params.train.calibration), tuning.parameters()
    curve = Curve(paths.CURVE)
    with progress.shown() as bar:
        model, training = family.train(rows, tuning.applied(params.train, tuned), schema, each(curve, bar))
    baseline, _ = linear.train(rows, params.train, schema)
    exported, difference = _export(family, model, paths.BOOSTED, matrix, schema)
    for name, content in family.files(model).items():
        write_atomically(paths.BOOSTED / name, content)
    bins = reference(matrix, exported.score_matrix(matrix), schema)
    write_atomically(paths.BOOSTED / training_reference.FILE_NAME, bins.to_bytes())
    training |= {"tuned": tuned} if tuned else {}
    training |= {
        "rows": len(matrix),
        "prior": _prior(rows.outcomes, schema),
        "importance": family.importance(model, rows, schema),
        "export_difference": {
            paths.BOOSTED.name: difference,
            paths.LINEAR.name: _export(linear, baseline, paths.LINEAR, matrix, schema)[1],
        },
    }
    write_atomically(paths.TRAINING, canonical_json(training))
    return _told(training)


def _told(training: dict[str, Any]) -> str:
    told = [
        f"{training['rounds']} rounds on {training['rows']:,} rows"
        if "rounds" in training
        else f"{training['rows']:,} rows"
    ]
    if "tuned" in training:
        told.append(f"tuned {tuning.shown(training['tuned'])}")
    told += [f"{key.replace('_', ' ')} {value:.4f}" for key, value in training.items() if key.startswith("validation_")]
    return ", ".join(told)


def _prior(outcomes: Any, schema: FeatureSchema) -> float | list[float]:
    """Return the prediction without features: the positive share, the share of every label, or the mean."""
    if TASKS[schema.task].has_many_labels:
        shares: list[float] = (np.bincount(outcomes, minlength=len(schema.target.labels)) / len(outcomes)).tolist()
        return shares
    return float(outcomes.mean())


def _export(
    family: Family, model: Any, directory: Path, matrix: Matrix, schema: FeatureSchema
) -> tuple[Predictor, float]:
    """Write the exported model; return it and its difference from the library, or raise as `check_parity` does."""
    exported = _save(directory, family.to_onnx(model, schema), schema)
    expected, scores = family.scores(model, matrix, schema), exported.score_matrix(matrix)
    relative = TASKS[schema.task].is_number
    return exported, export.check_parity(directory.name, expected, scores, family.TOLERANCE, relative=relative)


def _save(directory: Path, model: bytes, schema: FeatureSchema) -> Predictor:
    shutil.rmtree(directory, ignore_errors=True)
    write_atomically(directory / MODEL_FILE_NAME, model)
    write_atomically(directory / feature_schema.FILE_NAME, schema.to_bytes())
    return Predictor.load(directory)
