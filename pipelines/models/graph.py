"""ONNX models from nodes written here: one input, one output, deterministic bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

FEATURES, MARGINS, SCORES = "features", "margins", "scores"
# The oldest versions with all operators used here: an upgrade of `onnx` does not change the bytes.
_IR, _OPSET, _ML_OPSET = 10, 21, 5
Link = Literal["identity", "logistic", "softmax"]


def model_bytes(nodes: Sequence[Any], constants: Sequence[Any], features: int, outputs: int, link: Link) -> bytes:
    """Return the bytes of a model from `FEATURES`, float32 rows × `features`, to `SCORES`, float32 rows × `outputs`.

    Args:
        nodes: compute `MARGINS`, rows × `outputs`, from the features and the constants.
        link: function from margins to scores.

    Raises:
        onnx.checker.ValidationError: the graph is invalid.
    """
    from onnx import TensorProto, checker, helper

    given, made = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", columns])
        for name, columns in ((FEATURES, features), (SCORES, outputs))
    )
    one = [tensor("one", np.ones(1, np.float32))] if link == "logistic" else []
    graph = helper.make_graph([*nodes, *_linked(link)], "model", [given], [made], [*constants, *one])
    operators = [helper.make_opsetid("", _OPSET), helper.make_opsetid("ai.onnx.ml", _ML_OPSET)]
    model = helper.make_model(graph, opset_imports=operators, ir_version=_IR)
    checker.check_model(model)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def tensor(name: str, values: NDArray[Any]) -> Any:
    """Return a constant for a graph, or for the attribute of a node."""
    from onnx import numpy_helper

    return numpy_helper.from_array(values, name)


def _linked(link: Link) -> list[Any]:
    """Return the nodes from the margins to the scores.

    The logistic function is 1 / (1 + exp(−x)), as in XGBoost: ONNX Runtime's `Sigmoid` is off by some 1e-7, which gives 0 for a
    probability of 1e-8, and 1.0000001 for others.
    """
    from onnx import helper

    if link != "logistic":
        return [helper.make_node({"identity": "Identity", "softmax": "Softmax"}[link], [MARGINS], [SCORES])]
    return [
        helper.make_node("Neg", [MARGINS], ["negated"]),
        helper.make_node("Exp", ["negated"], ["odds_against"]),
        helper.make_node("Add", ["odds_against", "one"], ["one_and_odds"]),
        helper.make_node("Reciprocal", ["one_and_odds"], [SCORES]),
    ]
