"""Predictions for a target of each task, with groups of rows, beside a live model."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from pipelines.params.judging.evaluate import Evaluate
from pipelines.params.judging.gates import Gates
from pipelines.params.target import TargetParams
from pipelines.stages.evaluate.gates.figures import Figures, Given
from pipelines.stages.evaluate.gates.predictions import Predictions
from pipelines.statistics.tasks import judgement

ROWS = 3000
KINDS = ("binary", "multiclass", "regression", "quantiles")
TARGETS: dict[str, dict[str, Any]] = {
    "binary": {"labels": ["no", "yes"]},
    "multiclass": {"labels": ["no", "yes", "perhaps"]},
    "regression": {},
    "quantiles": {"quantiles": [0.1, 0.9]},
}


def enumerated(values: Any) -> pl.Series:
    """An enumeration of texts, in ascending order."""
    found = pl.Series([str(value) for value in values])
    return found.cast(pl.Enum(found.unique().sort()))


def predictions(kind: str, *, days: int = 40, worse: str | None = None, rows: int = ROWS, seed: int = 3) -> Predictions:
    """Predictions of a model as good as the live one but in the group `worse` of `place`, one of `a` to `d`."""
    random = np.random.default_rng(seed)
    place = random.choice(list("abcd"), rows)
    is_worse = place == (worse or "")
    noise = [random.random(rows) * 0.2 for _ in range(2)]
    if kind == "binary":
        truth = random.random(rows)
        outcomes: Any = (random.random(rows) < truth).astype(np.int8)
        model, live = (np.clip(truth + each - 0.1, 0.01, 0.99) for each in noise)
        model = np.where(is_worse, 1 - model, model)
    elif kind == "multiclass":
        truth = random.dirichlet([1, 1, 1], rows)
        outcomes = np.array([random.choice(3, p=chances) for chances in truth])
        model, live = ((truth + each[:, None]) / (1 + 3 * each[:, None]) for each in noise)
        model = np.where(is_worse[:, None], model[:, ::-1], model)
    else:
        truth = random.normal(0, 2, rows)
        outcomes = truth + random.normal(0, 1, rows)
        model, live = (truth + each for each in noise)
        model = np.where(is_worse, model + 3, model)
        if kind == "quantiles":
            model, live = (each[:, None] + np.array([-1.3, 1.3]) for each in (model, live))
    groups = {
        "slice.place": enumerated(place),
        "slice.rare": enumerated(np.where(np.arange(rows) < 12, "few", "many")),
        "protected.sex": enumerated(random.choice(["f", "m"], rows)),
        "searched.place": enumerated(place),
        "searched.size": enumerated(random.choice(["large", "small"], rows)),
    }
    prior = np.zeros_like(model) if model.ndim > 1 else np.full(rows, 0.5)
    scores = {"model": model, "live": live, "linear": live, "prior": prior + (1 / 3 if kind == "multiclass" else 0)}
    clusters = np.sort(random.integers(0, days, rows))
    clusters[-days:] = np.arange(days)
    return Predictions(outcomes, clusters, scores, np.ones(rows, np.bool_), groups=groups)


def given(kind: str, evaluate: dict[str, Any] | None = None, **gates: Any) -> Given:
    """What `params.yaml` says of it."""
    target = TargetParams.model_validate({"column": "answer", "task": kind, **TARGETS[kind]})
    settings = Evaluate.model_validate({"bootstrap": 300, **(evaluate or {})})
    return Given(target, settings, Gates(**gates), 7, "days", 5, "ab" * 32)


def figures(kind: str, found: Predictions, evaluate: dict[str, Any] | None = None, **gates: Any) -> Figures:
    """The figures of these predictions."""
    grounds = given(kind, evaluate, **gates)
    return Figures(grounds, found, judgement(grounds.target))
