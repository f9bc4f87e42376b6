"""Constraints by the names of features: what the trees keep to, and what params.yaml may say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contract.errors import ConfigurationError
from pipelines.models.families.registry import FAMILIES
from pipelines.params import file
from pipelines.params.train import FAMILIES as SETTINGS
from tests.pipelines.models import toy

CONSTRAINED = ["gbtree", "dart", "forest", "histogram"]
SMALL: dict[str, dict[str, Any]] = {
    "gbtree": {"max_rounds": 12},
    "dart": {"max_rounds": 6},
    "forest": {"trees": 12},
    "histogram": {"max_rounds": 12},
}


def _trained(directory: Path, family: str, **settings: Any) -> tuple[Any, Any]:
    values = toy.matrix(1_500, 1)
    # It falls with the width, but for those between 4 and 6.
    outcomes = toy.outcomes("regression", values) - 2 * np.nan_to_num(values[:, 1], nan=5.0) * (values[:, 1] < 5)
    schema = toy.schema("regression")
    asked = SETTINGS[family].model_validate({"family": family, "seed": 1, **SMALL[family], **settings})
    return FAMILIES[family].train(toy.table(directory, values, outcomes), asked, schema)[0], schema


def _steps(family: str, model: Any, schema: Any) -> Any:
    """The changes of the prediction along the width, of some rows."""
    steps = []
    for row in toy.matrix(30, 3):
        grid = np.repeat(row[None, :], 40, axis=0)
        grid[:, 1] = np.linspace(-1, 12, 40)
        steps.append(np.diff(FAMILIES[family].scores(model, grid, schema)))
    return np.concatenate(steps)


@pytest.mark.parametrize("family", CONSTRAINED)
def test_prediction_goes_one_way_with_a_monotone_feature(family: str, tmp_path: Path) -> None:
    free = _steps(family, *_trained(tmp_path, family))
    assert free.min() < 0 < free.max()
    assert _steps(family, *_trained(tmp_path, family, monotone={"width": "increasing"})).min() >= 0
    assert _steps(family, *_trained(tmp_path, family, monotone={"width": "decreasing"})).max() <= 0


def _paths(content: bytes) -> set[frozenset[int]]:
    """The features that meet on the paths of an ONNX model's trees."""
    import onnx

    node = next(node for node in onnx.load_from_string(content).graph.node if node.op_type == "TreeEnsemble")
    trees = {entry.name: onnx.helper.get_attribute_value(entry) for entry in node.attribute}

    def walk(split: int, above: frozenset[int]) -> set[frozenset[int]]:
        met, found = above | {trees["nodes_featureids"][split]}, set()
        for side in ("true", "false"):
            child = trees[f"nodes_{side}nodeids"][split]
            found |= {met} if trees[f"nodes_{side}leafs"][split] else walk(child, met)
        return found

    return set().union(*(walk(root, frozenset()) for root in trees["tree_roots"]))


@pytest.mark.parametrize("family", CONSTRAINED)
def test_features_meet_only_within_their_group(family: str, tmp_path: Path) -> None:
    def meetings(**settings: Any) -> set[frozenset[str]]:
        content = FAMILIES[family].to_onnx(*_trained(tmp_path, family, **settings))
        return {frozenset(toy.NAMES[index] for index in path) for path in _paths(content)}

    groups = [{"height", "kind"}, {"width", "noise"}]  # the second one: those of no group
    assert any(not any(path <= group for group in groups) for path in meetings())
    found = meetings(interactions=[["height", "kind"]])
    assert all(any(path <= group for group in groups) for path in found)
    assert any(len(path) == 2 for path in found)


NUMBER = {"column": "outcome", "task": "regression"}
MULTICLASS = {"column": "outcome", "task": "multiclass", "labels": ["a", "b", "c"]}


@pytest.mark.parametrize(
    ("section", "target", "words"),
    [
        ({"monotone": {"length": "increasing"}}, {}, ["train.monotone names 'length'", "no feature: depot, distance"]),
        ({"monotone": {"depot": "increasing"}}, {}, ["train.monotone names 'depot'", "category"]),
        ({"monotone": {"distance": "up"}}, {}, ["train.monotone.distance", "'increasing' or 'decreasing'", "'up'"]),
        ({"monotone": {"distance": "increasing"}}, MULTICLASS, ["train.monotone names 'distance'", "multiclass"]),
        ({"interactions": [["distance", "length"]]}, {}, ["train.interactions names 'length'", "depot, distance"]),
        (
            {"monotone": {"distance": "increasing"}},
            NUMBER | {"objective": "absolute_error"},
            ["absolute_error", "quantiles"],
        ),
        ({"family": "linear", "monotone": {}}, {}, ["'train.monotone'", "unknown key"]),
    ],
)
def test_constraint_that_cannot_hold_is_refused_by_its_name(
    raw: dict[str, Any], section: dict[str, Any], target: dict[str, Any], words: list[str]
) -> None:
    raw |= {"train": {"seed": 1, **section}, "target": target or raw["target"]}
    with pytest.raises(ConfigurationError) as caught:
        file.parse(json.dumps(raw).encode(), "params.yaml")
    told = str(caught.value)
    assert [word for word in words if word not in told] == [], told
    assert caught.value.exit_code == 78
