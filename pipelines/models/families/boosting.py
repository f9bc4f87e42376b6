"""XGBoost: early stopping on the validation rows sets the rounds; the model is trained on all rows before the hold-out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from dataclasses import asdict
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from contract.schema.schema import FeatureSchema
from contract.schema.tasks import TASKS
from pipelines.data.training import Part
from pipelines.machine.cluster import connected
from pipelines.models.device import available
from pipelines.models.engines.checkpoints import Checkpoint
from pipelines.models.engines.chunks import Engine, Plan, best, boost
from pipelines.models.engines.cluster import Job, cluster_engine
from pipelines.models.engines.local import LocalEngine, Parts, matrices
from pipelines.models.export import TOLERANCE as TOLERANCE
from pipelines.models.families.thresholds import between_rows
from pipelines.models.families.trees import OBJECTIVES, booster_to_onnx
from pipelines.models.family import ALONE, Matrix, Rows, Session
from pipelines.params.train import BoostingParams, TreeParams, XgboostParams

_DIRECTIONS = {"increasing": 1, "decreasing": -1, None: 0}
# Settings that have XGBoost's own names.
_OWN = (
    "seed", "max_depth", "learning_rate", "min_child_weight", "subsample", "colsample_bytree", "colsample_bynode", "rate_drop",
    "skip_drop", "booster",
)  # fmt: skip


def train(
    rows: Rows, settings: BoostingParams, schema: FeatureSchema, session: Session = ALONE
) -> tuple[Any, dict[str, Any]]:
    """Return the booster, and its rounds, splits, and log loss or RMSE on the validation rows.

    The same input gives the same bytes, whatever `threads` and `memory` are, and wherever an earlier training was interrupted. No
    threshold of the booster is a value of a row.
    """
    losses = search(rows, settings, schema, session).losses
    rounds = best(losses) + 1
    asked = asked_of(settings, schema) | start(rows, schema)
    plan = Plan("training on all rows", rounds, None, settings.checkpoint_rounds, settings.seed)
    fitted = _pass((Part.ALL, None), plan, rows, settings, asked, session)
    booster = between_rows(_booster(asked, fitted), rows.values)
    return booster, {
        "rounds": rounds,
        "splits": splits(booster),
        f"validation_{OBJECTIVES[schema.objective.name].measure}": losses[rounds - 1],
    }


def unseen(rows: Rows, settings: BoostingParams, schema: FeatureSchema, session: Session = ALONE) -> Any:
    """Return the booster of the training rows, up to its best round on the validation rows."""
    searched = search(rows, settings, schema, session)
    return _booster(asked_of(settings, schema), searched)[: best(searched.losses) + 1]


def search(rows: Rows, settings: BoostingParams, schema: FeatureSchema, session: Session) -> Checkpoint:
    """Return the booster of the training rows after the round at which early stopping ended, with its losses."""
    asked = asked_of(settings, schema) | start(rows, schema)
    most, patience = settings.max_rounds, settings.early_stopping_rounds
    plan = Plan("rounds by validation", most, patience, settings.checkpoint_rounds, settings.seed)
    return _pass((Part.TRAINING, Part.VALIDATION), plan, rows, settings, asked, session)


def _booster(asked: dict[str, Any], checkpoint: Checkpoint) -> Any:
    import xgboost

    return xgboost.Booster(asked, model_file=bytearray(checkpoint.model))


def _pass(
    parts: Parts, plan: Plan, rows: Rows, settings: BoostingParams, asked: dict[str, Any], session: Session
) -> Checkpoint:
    import xgboost

    identity = {
        "settings": {key: value for key, value in asked.items() if key != "nthread"},
        "plan": asdict(plan),
        "rows": rows.digest,
        "xgboost": xgboost.__version__,
    }
    if settings.cluster is not None:
        identity["ranks"] = settings.workers
    with _engine(parts, plan, rows, settings, asked, session) as engine:
        return boost(engine, plan, session.checkpoints.of(identity), session.watch)


@contextmanager
def _engine(
    parts: Parts, plan: Plan, rows: Rows, settings: BoostingParams, asked: dict[str, Any], session: Session
) -> Iterator[Engine]:
    """Yield the engine of the settings, on the matrices of the rows that are learned and of those that stop the rounds."""
    if settings.cluster is None:
        with (
            matrices(settings, session) as matrix,
            closing(LocalEngine(asked, lambda: matrix.pair(rows, parts))) as engine,
        ):
            yield engine
        return
    is_external = settings.memory == "external"
    job = Job(uuid4().hex, rows.directory.absolute(), settings.workers, asked, parts, plan.patience, is_external)
    with (
        nullcontext(session.client) if session.client is not None else connected(*settings.cluster) as client,
        cluster_engine(client, job) as engine,
    ):
        yield engine


def asked_of(settings: XgboostParams, schema: FeatureSchema) -> dict[str, Any]:
    """Return the settings of XGBoost: objective, parameters of trees and boosting, and constraints by position.

    Raises:
        ConfigurationError: as `available` does.
    """
    own = {name: getattr(settings, name) for name in _OWN if hasattr(settings, name)}
    always = {"tree_method": "hist", "nthread": settings.threads, "device": available(settings.device)}
    return always | objective(schema) | own | constraints(settings, schema)


def constraints(settings: TreeParams, schema: FeatureSchema) -> dict[str, Any]:
    """Return the monotone and interaction constraints of XGBoost, which goes by the positions of features."""
    names = schema.feature_names
    found: dict[str, Any] = {}
    if settings.monotone:
        found["monotone_constraints"] = tuple(_DIRECTIONS[settings.monotone.get(name)] for name in names)
    if settings.interactions:
        grouped = {name for group in settings.interactions for name in group}
        groups = [*settings.interactions, [name for name in names if name not in grouped]]
        # As text: XGBoost takes the entries of a list for names, and its matrix has none here.
        found["interaction_constraints"] = str([[names.index(name) for name in group] for group in groups if group])
    return found


def objective(schema: FeatureSchema) -> dict[str, Any]:
    """Return objective, its parameters, metric and number of classes, as settings of XGBoost."""
    target, found = schema.target, OBJECTIVES[schema.objective.name]
    own = {name: getattr(target, attribute) for name, attribute in found.settings.items()}
    classes = {"num_class": len(target.labels)} if TASKS[schema.task].has_many_labels else {}
    return classes | own | {"objective": found.name, "eval_metric": found.metric.format(power=target.power)}


def start(rows: Rows, schema: FeatureSchema) -> dict[str, Any]:
    """Return settings that let the Huber loss converge; none for other objectives.

    A Newton step overshoots an error by its square in units of the slope. XGBoost's own start is such a step from 0, so it begins far
    away and never comes back. Here it starts at the median, and no leaf moves a row by more than the slope in a round.
    """
    if schema.objective.name != "huber":
        return {}
    return {"base_score": float(np.median(rows.outcomes)), "max_delta_step": schema.target.slope}


def to_onnx(booster: Any, schema: FeatureSchema) -> bytes:
    """Return the bytes of the ONNX model; see `pipelines.models.families.trees`."""
    return booster_to_onnx(booster, len(schema.features))


def scores(booster: Any, matrix: Matrix, schema: FeatureSchema) -> NDArray[np.float32]:
    """Return the scores of XGBoost; quantiles, which its trees may let cross, in ascending order."""
    predicted: NDArray[np.float32] = booster.inplace_predict(matrix)
    return np.sort(predicted, axis=1) if TASKS[schema.task].has_quantiles else predicted


def margins(booster: Any, matrix: Matrix, _schema: FeatureSchema) -> NDArray[np.float32]:
    """Return the sums of the trees."""
    predicted: NDArray[np.float32] = booster.inplace_predict(matrix, predict_type="margin")
    return predicted


def importance(booster: Any, _rows: Rows, schema: FeatureSchema) -> dict[str, float]:
    """Return each feature's share of the total gain; 0 for one that no tree uses."""
    gains = booster.get_score(importance_type="total_gain")
    total = sum(gains.values()) or 1.0
    return {name: gains.get(f"f{index}", 0.0) / total for index, name in enumerate(schema.feature_names)}


def files(booster: Any) -> dict[str, bytes]:
    """Return the booster in XGBoost's own binary JSON."""
    return {"model.ubj": bytes(booster.save_raw("ubj"))}


def splits(booster: Any) -> int:
    """Return the splits of all trees; with 0 the model learned nothing, and every row gets the same score."""
    return sum(line.count("split_condition") for line in booster.get_dump(dump_format="json"))
