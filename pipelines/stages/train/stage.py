"""Stage `train`: the model and its linear baseline, exported to ONNX beside the schema that they read."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.errors import DataRejectedError, ModelRejectedError
from contract.files import canonical_json, write_atomically
from contract.model import reference as training_reference
from contract.model.predictor import MODEL_FILE_NAME, Predictor
from contract.schema import schema as feature_schema
from contract.schema.schema import FeatureSchema
from contract.schema.tasks import TASKS
from pipelines import paths
from pipelines.data.training import Part
from pipelines.machine import cluster
from pipelines.models import calibration, export, progress, tuning
from pipelines.models.calibrated import calibrated
from pipelines.models.engines.spilled import Spill
from pipelines.models.families import linear
from pipelines.models.families.registry import FAMILIES
from pipelines.models.family import ALONE, Family, Matrix, Rows, Session
from pipelines.models.rounds import each, ignored
from pipelines.params.params import Params
from pipelines.params.train import BoostingParams, Train
from pipelines.stages.train.curve import Curve
from pipelines.stages.train.reference import reference

_SCORED = 100_000  # largest table whose rows are all scored, for the check of an export and the bins of the predictions


def run(params: Params, session: Session = ALONE) -> str:
    """Write `models/boosted`, `models/linear` (each `model.onnx` and `schema.json`), and `training.json` and `reports/training`.

    `models/boosted` is the model, of any family; it also has `reference.json` and the files of the library. `models/linear` is its
    baseline. `reports/training` has the validation loss by round.

    A large table is read in batches and by column: nothing here holds it whole. Of more than `_SCORED` rows
    so many, evenly spaced, are scored.
    """
    schema = FeatureSchema.from_bytes((paths.FEATURES / feature_schema.FILE_NAME).read_bytes())
    rows = Rows(paths.TRAINING_ROWS)

    family, tuned = calibrated(FAMILIES[params.train.family], params.train.calibration), tuning.parameters()
    curve = Curve(paths.CURVE)
    with progress.shown() as bar, cluster.client_of(params.train.cluster) as client, session.scratch() as place:
        watched = replace(session, watch=each(session.watch, curve, bar), client=client, spill=Spill(place))
        settings = tuning.applied(params.train, tuned)
        model, training = family.train(rows, settings, schema, watched)
        if scaling := _recalibration(settings, rows, schema, replace(watched, watch=ignored)):
            training["recalibration"] = scaling
    baseline, _ = linear.train(rows, params.train, schema)
    sample = rows.sample(_SCORED).matrix
    difference, scores = _export(family, model, paths.BOOSTED, sample, schema)
    for name, content in family.files(model).items():
        write_atomically(paths.BOOSTED / name, content)
    bins = reference(rows.distinct, scores, schema)
    write_atomically(paths.BOOSTED / training_reference.FILE_NAME, bins.to_bytes())
    training |= {"tuned": tuned} if tuned else {}
    training |= {
        "rows": rows.height,
        "prior": _prior(rows.outcomes, schema),
        "importance": family.importance(model, rows, schema),
        "export_difference": {
            paths.BOOSTED.name: difference,
            paths.LINEAR.name: _export(linear, baseline, paths.LINEAR, sample, schema)[0],
        },
    }
    write_atomically(paths.TRAINING, canonical_json(training))
    return _told(training)


def _recalibration(settings: Train, rows: Rows, schema: FeatureSchema, session: Session) -> dict[str, Any] | None:
    """Return Platt's scaling of the margins of the validation rows, by which `evaluate` says whether it would have helped.

    None with a calibration, for other tasks, where no scaling can be fitted, and for families that would be trained a second time for it.
    """
    # Of boosting the checkpoints still have the pass that the validation rows stopped.
    is_kept = isinstance(settings, BoostingParams) and settings.cluster is None
    if settings.calibration != "none" or not is_kept or TASKS[schema.task].form != "probability":
        return None
    family = FAMILIES[settings.family]
    model = family.unseen(rows, settings, schema, session)
    batches = [(family.margins(model, batch.matrix, schema), batch.outcomes) for batch in rows.batches(Part.VALIDATION)]
    if not batches:
        return None
    margins, outcomes = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    try:
        scaling = calibration.fit("sigmoid", margins, outcomes, schema.target)
    except (DataRejectedError, ModelRejectedError):  # a label without a row, or scores that do not rise with it
        return None
    return {"method": "sigmoid", "rows": len(margins)} | scaling.told


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
    """Return the prediction without features: the share of the positive label or of each, the mean, median or quantiles."""
    if schema.objective.name == "absolute_error":
        return float(np.median(outcomes))
    if quantiles := schema.target.quantiles:
        return [float(np.quantile(outcomes, level)) for level in quantiles]
    if TASKS[schema.task].has_many_labels:
        shares: list[float] = (np.bincount(outcomes, minlength=len(schema.target.labels)) / len(outcomes)).tolist()
        return shares
    return float(outcomes.mean())


def _export(
    family: Family, model: Any, directory: Path, sample: Matrix, schema: FeatureSchema
) -> tuple[float, NDArray[np.float32]]:
    """Write the exported model; return its difference from the library and its scores, or raise as `check_parity` does."""
    exported = _save(directory, family.to_onnx(model, schema), schema)
    expected, scores = family.scores(model, sample, schema), exported.score_matrix(sample)
    relative = TASKS[schema.task].is_number
    return export.check_parity(directory.name, expected, scores, family.TOLERANCE, relative=relative), scores


def _save(directory: Path, model: bytes, schema: FeatureSchema) -> Predictor:
    shutil.rmtree(directory, ignore_errors=True)
    write_atomically(directory / MODEL_FILE_NAME, model)
    write_atomically(directory / feature_schema.FILE_NAME, schema.to_bytes())
    return Predictor.load(directory)
