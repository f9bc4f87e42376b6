"""XGBoost's trees as one `TreeEnsemble` of `ai.onnx.ml`, written from the library's documented JSON model.

It supports single leaves, the weights of DART, forests, several outputs with a tree each, and splits on sets of categories.
 Source: the JSON schema in XGBoost's "Introduction to Model IO", and the operator's definition in ONNX.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contract.errors import ConfigurationError
from pipelines.models.graph import FEATURES, MARGINS, Link, model_bytes, tensor

_LESS, _MEMBER = 1, 6  # modes of a node: BRANCH_LT, as XGBoost compares, and BRANCH_MEMBER
_SUM = 1
_AS_THEY_ARE = 0  # no transform of the sums; ONNX Runtime swaps two of the others
Floats = NDArray[np.float32]


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


@dataclass(frozen=True)
class _Tree:
    """One tree in XGBoost's numbering: children by node, −1 for none, and its threshold or leaf value."""

    left: NDArray[np.int64]
    right: NDArray[np.int64]
    features: NDArray[np.int64]
    values: Floats
    default_left: NDArray[np.int64]
    categories: dict[int, list[float]]
    target: int

    @property
    def is_leaf(self) -> NDArray[np.bool_]:
        return self.left < 0


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
    trees = [_leaf(float(value), target) for target, value in enumerate(base)] + list(_trees(learner))
    return model_bytes([_ensemble(trees, outputs)], [], features, outputs, link or objective.link)


def _numbers(text: str) -> Floats:
    """Parse a parameter of the model: `[5E-1,2E-1]`, or `5E-1` before XGBoost 3.1."""
    return np.array(text.strip("[]").split(","), np.float32)


def _trees(learner: dict[str, Any]) -> Iterator[_Tree]:
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
        yield _Tree(
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


def _leaf(value: float, target: int) -> _Tree:
    none, zero = np.array([-1]), np.array([0])
    return _Tree(none, none, zero, np.array([value], np.float32), zero, {}, target)


def _ensemble(trees: list[_Tree], outputs: int) -> Any:
    """Return the node of the graph; ONNX numbers splits and leaves separately, through all trees."""
    from onnx import helper

    parts = [_split(tree) if tree.is_leaf[0] else _nodes(tree) for tree in trees]
    starts = list(accumulate((len(part["nodes_splits"]) for part in parts), initial=0))
    leaves = list(accumulate((len(part["leaf_weights"]) for part in parts), initial=0))
    for part, start, leaf in zip(parts, starts, leaves, strict=False):  # both end with a total
        for side in ("true", "false"):
            part[f"nodes_{side}nodeids"] += np.where(part[f"nodes_{side}leafs"], leaf, start)
    joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    members = joined.pop("membership_values")
    attributes = {name: _attribute(name, values) for name, values in joined.items()}
    if len(members):
        attributes["membership_values"] = tensor("membership_values", members)
    return helper.make_node(
        "TreeEnsemble",
        [FEATURES],
        [MARGINS],
        domain="ai.onnx.ml",
        n_targets=outputs,
        aggregate_function=_SUM,
        post_transform=_AS_THEY_ARE,
        tree_roots=starts[:-1],
        **attributes,
    )


def _attribute(name: str, values: NDArray[Any]) -> Any:
    return tensor(name, values) if values.dtype in (np.float32, np.uint8) else values.tolist()


def _nodes(tree: _Tree) -> dict[str, NDArray[Any]]:
    """Return the attributes of one tree, its splits and leaves numbered from 0 in XGBoost's order."""
    split, is_leaf = np.flatnonzero(~tree.is_leaf), tree.is_leaf
    numbers = np.where(is_leaf, np.cumsum(is_leaf), np.cumsum(~is_leaf)) - 1
    is_member = np.isin(split, list(tree.categories))
    # XGBoost sends smaller values to the left, but members of the set of categories to the right.
    true = np.where(is_member, tree.right[split], tree.left[split])
    false = np.where(is_member, tree.left[split], tree.right[split])
    return {
        "nodes_featureids": tree.features[split],
        "nodes_splits": np.where(is_member, np.float32(0), tree.values[split]),
        "nodes_modes": np.where(is_member, _MEMBER, _LESS).astype(np.uint8),
        "nodes_truenodeids": numbers[true],
        "nodes_falsenodeids": numbers[false],
        "nodes_trueleafs": is_leaf[true].astype(np.int64),
        "nodes_falseleafs": is_leaf[false].astype(np.int64),
        "nodes_missing_value_tracks_true": ((tree.default_left[split] > 0) ^ is_member).astype(np.int64),
        "leaf_targetids": np.full(int(is_leaf.sum()), tree.target),
        "leaf_weights": tree.values[is_leaf],
        "membership_values": _members(tree, split),
    }


def _members(tree: _Tree, split: NDArray[np.int64]) -> Floats:
    """Return the categories of each split on categories, NaN after each set."""
    sets = [[*tree.categories[node], np.nan] for node in split.tolist() if node in tree.categories]
    return np.array([value for values in sets for value in values], np.float32)


def _split(leaf: _Tree) -> dict[str, NDArray[Any]]:
    """Return a single leaf as a tree: ONNX requires a split at the root, so both sides are that leaf."""
    both, value = np.array([-1, -1]), leaf.values[[0, 0, 0]]
    children = {"left": np.array([1, *both]), "right": np.array([2, *both])}
    zero = np.zeros(3, np.int64)
    value[0] = 0
    return _nodes(_Tree(**children, features=zero, values=value, default_left=zero, categories={}, target=leaf.target))
