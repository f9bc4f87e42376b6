"""Trees of any library as one `TreeEnsemble` of `ai.onnx.ml`.

It supports single leaves, several outputs with trees each, and splits on sets of categories. Source: the operator's definition in ONNX.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.models.graph import FEATURES, MARGINS, tensor

_LESS, _MEMBER = 1, 6  # modes of a node: BRANCH_LT and BRANCH_MEMBER
_SUM = 1
_AS_THEY_ARE = 0  # no transform of the sums; ONNX Runtime swaps two of the others
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Tree:
    """One tree: children by node, −1 for none, and its threshold or leaf value.

    A value below the threshold goes left; of a split on `categories`, by node, its members go right.
    """

    left: NDArray[np.int64]
    right: NDArray[np.int64]
    features: NDArray[np.int64]
    values: Floats
    default_left: NDArray[np.int64]
    categories: dict[int, list[float]]
    target: int

    @property
    def is_leaf(self) -> NDArray[np.bool_]:
        """True for the nodes without children."""
        return self.left < 0


def leaf(value: float, target: int) -> Tree:
    """Return a tree that adds the value to every row."""
    none, zero = np.array([-1]), np.array([0])
    return Tree(none, none, zero, np.array([value], np.float32), zero, {}, target)


def ensemble(trees: list[Tree], outputs: int) -> Any:
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


def _nodes(tree: Tree) -> dict[str, NDArray[Any]]:
    """Return the attributes of one tree, its splits and leaves numbered from 0 in their order."""
    split, is_leaf = np.flatnonzero(~tree.is_leaf), tree.is_leaf
    numbers = np.where(is_leaf, np.cumsum(is_leaf), np.cumsum(~is_leaf)) - 1
    is_member = np.isin(split, list(tree.categories))
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


def _members(tree: Tree, split: NDArray[np.int64]) -> Floats:
    """Return the categories of each split on categories, NaN after each set."""
    sets = [[*tree.categories[node], np.nan] for node in split.tolist() if node in tree.categories]
    return np.array([value for values in sets for value in values], np.float32)


def _split(leaf: Tree) -> dict[str, NDArray[Any]]:
    """Return a single leaf as a tree: ONNX requires a split at the root, so both sides are that leaf."""
    both, value = np.array([-1, -1]), leaf.values[[0, 0, 0]]
    children = {"left": np.array([1, *both]), "right": np.array([2, *both])}
    zero = np.zeros(3, np.int64)
    value[0] = 0
    return _nodes(Tree(**children, features=zero, values=value, default_left=zero, categories={}, target=leaf.target))
