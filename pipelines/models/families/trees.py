"""XGBoost's objectives, and its trees as ONNX, read from the library's documented JSON model.

It supports single leaves, the weights of DART, forests, several outputs with a tree each, and splits on sets of categories.
Source: the JSON schema in XGBoost's "Introduction to Model IO".
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from contract.errors import ConfigurationError
from pipelines.models.families.ensemble import Floats, Tree, ensemble, leaf
from pipelines.models.graph import Link, model_bytes


def _logit(chances: Floats) -> Floats:
    # NumPy's logarithm has other last bits on another processor.
    return np.array([-math.log(1 / chance - 1) for chance in chances.tolist()], np.float32)


def _log(means: Floats) -> Floats:
    return np.array([math.log(mean) for mean in means.tolist()], np.float32)


def _same(scores: Floats) -> Floats:
    return scores


@dataclass(frozen=True)
class Objective:
    """An objective of XGBoost.

    Attributes:
        metric: XGBoost's name of the measure on the validation part, which is `measure` here.
        to_margin: function from the base score to the first summand.
        link: function from the sums to the scores.
        settings: by XGBoost's names of further settings, the attribute of the target.
    """

    name: str
    metric: str
    measure: str
    to_margin: Callable[[Floats], Floats]
    link: Link
    settings: Mapping[str, str] = field(default_factory=dict)


# By the name of the objective in `contract.schema.tasks`.
OBJECTIVES = {
    "logistic": Objective("binary:logistic", "logloss", "log_loss", _logit, "logistic"),
    "softmax": Objective("multi:softprob", "mlogloss", "log_loss", _same, "softmax"),
    "squared_error": Objective("reg:squarederror", "rmse", "rmse", _same, "identity"),
    "absolute_error": Objective("reg:absoluteerror", "mae", "mae", _same, "identity"),
    "huber": Objective("reg:pseudohubererror", "mphe", "huber_loss", _same, "identity", {"huber_slope": "slope"}),
    "poisson": Objective("count:poisson", "poisson-nloglik", "poisson_log_loss", _log, "exponential"),
    "gamma": Objective("reg:gamma", "gamma-deviance", "deviance", _log, "exponential"),
    "tweedie": Objective(
        "reg:tweedie",
        "tweedie-nloglik@{power}",
        "tweedie_log_loss",
        _log,
        "exponential",
        {"tweedie_variance_power": "power"},
    ),
    "pinball": Objective(
        "reg:quantileerror", "quantile", "pinball_loss", _same, "ascending", {"quantile_alpha": "quantiles"}
    ),
}


def booster_to_onnx(booster: Any, features: int, link: Link | None = None) -> bytes:
    """Return the ONNX model of a booster: float32 rows × `features`, NaN for missing, to float32 rows × outputs.

    The same booster gives the same bytes. The sums are those of XGBoost to the bit: the base score first, then tree by tree.

    Args:
        link: function from the sums to the scores; None is that of the objective.

    Raises:
        ConfigurationError: the objective, or the form of the trees, is unsupported.
    """
    learner = json.loads(booster.save_raw("json"))["learner"]
    name, known = learner["objective"]["name"], {entry.name: entry for entry in OBJECTIVES.values()}
    if name not in known:
        raise ConfigurationError(f"the objective {name!r} is unsupported by the export; supported: {', '.join(known)}")
    objective = known[name]
    model = learner["learner_model_param"]
    outputs = max(1, int(model["num_class"]), int(model["num_target"]))
    base = np.broadcast_to(objective.to_margin(_numbers(model["base_score"])), outputs)
    trees = [leaf(float(value), target) for target, value in enumerate(base)] + list(_trees(learner))
    return model_bytes([ensemble(trees, outputs)], [], features, outputs, link or objective.link)


def _numbers(text: str) -> Floats:
    """Parse a parameter of the model: `[5E-1,2E-1]`, or `5E-1` before XGBoost 3.1."""
    return np.array(text.strip("[]").split(","), np.float32)


def _trees(learner: dict[str, Any]) -> Iterator[Tree]:
    booster = learner["gradient_booster"]
    weights = booster.get("weight_drop")
    model = booster["gbtree"]["model"] if "gbtree" in booster else booster["model"]
    for index, (tree, target) in enumerate(zip(model["trees"], model["tree_info"], strict=True)):
        if int(tree["tree_param"]["size_leaf_vector"]) > 1:
            raise ConfigurationError(
                "trees with a vector in each leaf are unsupported by the export; use one tree for each output"
            )
        left, values = np.array(tree["left_children"], np.int64), np.array(tree["split_conditions"], np.float32)
        if weights is not None:
            values[left < 0] *= np.float32(weights[index])
        yield Tree(
            left,
            np.array(tree["right_children"], np.int64),
            np.array(tree["split_indices"], np.int64),
            values,
            np.array(tree["default_left"], np.int64),
            _categories(tree),
            target,
        )


def _categories(tree: dict[str, Any]) -> dict[int, list[float]]:
    """Return the categories that go to the right, by node with a split on categories."""
    columns = (tree[f"categories_{name}"] for name in ("nodes", "segments", "sizes"))
    return {node: tree["categories"][start : start + size] for node, start, size in zip(*columns, strict=True)}
