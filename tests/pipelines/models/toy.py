"""A small table for any family and objective: two numbers that matter, a code of a category, and noise; gaps in each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.schema.schema import Feature, FeatureSchema, Field, Target
from pipelines.data import training
from pipelines.data.training import Rows

NAMES = ("height", "width", "kind", "noise")
KINDS = ("ash", "beech", "cedar", "elm", "fir")
TARGETS: dict[str, Target] = {
    "binary": Target("tall", ("no", "yes"), 0.5),
    "multiclass": Target("size", ("small", "medium", "large")),
    "regression": Target("price"),
    "quantiles": Target("price"),
}
# Objectives by name, with their attributes of the target; each goes with one task.
OBJECTIVES: dict[str, tuple[str, dict[str, Any]]] = {
    "logistic": ("binary", {}),
    "softmax": ("multiclass", {}),
    "squared_error": ("regression", {}),
    "absolute_error": ("regression", {"objective": "absolute_error"}),
    "huber": ("regression", {"objective": "huber", "slope": 2.0}),
    "poisson": ("regression", {"objective": "poisson"}),
    "gamma": ("regression", {"objective": "gamma"}),
    "tweedie": ("regression", {"objective": "tweedie", "power": 1.4}),
    "pinball": ("quantiles", {"quantiles": (0.1, 0.5, 0.9)}),
}


def schema(task: str, **target: Any) -> FeatureSchema:
    """The schema of the table for a task; its target has these attributes too."""
    fields = tuple(Field(name, "category" if name == "kind" else "number", required=False) for name in NAMES)
    features = tuple(
        Feature(name, "category", (name,), {"categories": list(KINDS)})
        if name == "kind"
        else Feature(name, "value", (name,))
        for name in NAMES
    )
    own = TARGETS[task]
    return FeatureSchema(
        "trees", task, Target(own.name, own.labels, own.threshold, own.unit, **target), fields, features
    )


def matrix(rows: int, seed: int, *, unknown: bool = False) -> NDArray[np.float32]:
    """Encoded rows; `unknown` ones have codes and numbers that training has not seen."""
    draw = np.random.default_rng(seed)
    scale = 3 if unknown else 1
    columns = [
        draw.normal(10, 4 * scale, rows).round(1),
        draw.normal(5, 2 * scale, rows),
        draw.integers(0, len(KINDS) + unknown, rows),
        draw.normal(0, 1, rows),
    ]
    found = np.stack(columns, axis=1).astype(np.float32)
    found[draw.random(found.shape) < 0.1] = np.nan
    return found


def outcomes(task: str, rows: NDArray[np.float32], seed: int = 7) -> NDArray[Any]:
    """The outcomes of these rows: a number above 0, or the index of the label."""
    filled = np.nan_to_num(rows, nan=6.0).astype(np.float64)
    value = filled[:, 0] + filled[:, 1] * (filled[:, 2] % 2 + 1) + np.random.default_rng(seed).normal(0, 1, len(rows))
    if task == "binary":
        return (value > 18).astype(np.int8)
    if task == "multiclass":
        return np.digitize(value, [14, 20]).astype(np.int16)
    return np.maximum(value, 0.1).round(2)


def table(
    directory: Path, values: NDArray[np.float32], found: NDArray[Any], weights: NDArray[np.float32] | None = None
) -> Rows:
    """Training rows in two files, a fifth of them for validation."""
    is_validation, half = np.arange(len(values)) % 5 == 0, len(values) // 2
    for name, part in (("1", slice(half)), ("2", slice(half, None))):
        of_part = None if weights is None else weights[part]
        batch = training.Batch(values[part], found[part], is_validation[part], of_part)
        training.write(directory / f"{name}.parquet", NAMES, batch)
    return Rows(directory)
