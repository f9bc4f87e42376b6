"""ONNX models from nodes written here: one input, one output, deterministic bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

FEATURES, MARGINS, CALIBRATED, SCORES = "features", "margins", "calibrated", "scores"
SMALLEST_SHARE = 1e-6  # of a label, so that not all of them can be 0
# The oldest versions with all operators used here: an upgrade of `onnx` does not change the bytes.
_IR, _OPSET, _ML_OPSET = 10, 21, 5
Link = Literal["identity", "logistic", "softmax", "exponential", "ascending", "share", "shares"]


def model_bytes(
    nodes: Sequence[Any], constants: Sequence[Any], features: int, outputs: int, link: Link, margins: str = MARGINS
) -> bytes:
    """Return the bytes of a model from `FEATURES`, float32 rows × `features`, to `SCORES`, float32 rows × `outputs`.

    Args:
        nodes: compute `margins`, rows × `outputs`, from the features and the constants.
        link: function from margins to scores.

    Raises:
        onnx.checker.ValidationError: the graph is invalid.
    """
    from onnx import TensorProto, checker, helper

    given, made = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", columns])
        for name, columns in ((FEATURES, features), (SCORES, outputs))
    )
    constants = [*constants, *(tensor(name, values) for name, values in _CONSTANTS.get(link, {}).items())]
    graph = helper.make_graph([*nodes, *_linked(link, margins)], "model", [given], [made], constants)
    operators = [helper.make_opsetid("", _OPSET), helper.make_opsetid("ai.onnx.ml", _ML_OPSET)]
    model = helper.make_model(graph, opset_imports=operators, ir_version=_IR)
    checker.check_model(model)
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def with_calibrator(model: bytes, nodes: Sequence[Any], constants: Sequence[Any], link: Link) -> bytes:
    """Return a model of `model_bytes` with other nodes behind its margins.

    Args:
        nodes: compute `CALIBRATED` from `MARGINS` and the constants.
        link: function from these to the scores, in place of the model's own.
    """
    from onnx import load_from_string

    graph = load_from_string(model).graph
    own = list(graph.node)
    before = own[: next(index for index, node in enumerate(own) if MARGINS in node.input)]
    needed = {name for node in before for name in node.input}
    kept = [constant for constant in graph.initializer if constant.name in needed]
    features, outputs = (end[0].type.tensor_type.shape.dim[1].dim_value for end in (graph.input, graph.output))
    return model_bytes([*before, *nodes], [*kept, *constants], features, outputs, link, margins=CALIBRATED)


def tensor(name: str, values: NDArray[Any]) -> Any:
    """Return a constant for a graph, or for the attribute of a node."""
    from onnx import numpy_helper

    return numpy_helper.from_array(values, name)


def _linked(link: Link, margins: str) -> list[Any]:
    """Return the nodes from the margins to the scores."""
    from onnx import helper

    nodes = []
    for operator, inputs, output, options in _LINKS[link]:
        unread = ["positions"] if operator == "TopK" else []
        read = [margins if name == MARGINS else name for name in inputs]
        nodes.append(helper.make_node(operator, read, [output, *unread], **options))
    return nodes


# Operator, inputs, output and attributes of the nodes of each link.
_LINKS: dict[Link, list[tuple[str, list[str], str, dict[str, Any]]]] = {
    "identity": [("Identity", [MARGINS], SCORES, {})],
    # 1 / (1 + exp(−x)), as in XGBoost: ONNX Runtime's `Sigmoid` is off by some 1e-7, which gives 0 for a probability of 1e-8, and
    # 1.0000001 for others.
    "logistic": [
        ("Neg", [MARGINS], "negated", {}),
        ("Exp", ["negated"], "odds_against", {}),
        ("Add", ["odds_against", "one"], "one_and_odds", {}),
        ("Reciprocal", ["one_and_odds"], SCORES, {}),
    ],
    "softmax": [("Softmax", [MARGINS], SCORES, {})],
    "exponential": [("Exp", [MARGINS], SCORES, {})],
    # Each row in ascending order: all of its scores are its smallest ones.
    "ascending": [
        ("Shape", [MARGINS], "width", {"start": 1}),
        ("TopK", [MARGINS, "width"], SCORES, {"largest": 0, "sorted": 1}),
    ],
    # Means of 0 and 1, rounded, may lie a little outside.
    "share": [("Clip", [MARGINS, "zero", "one"], SCORES, {})],
    # The mean of each label against the rest, as shares of their sum.
    "shares": [
        ("Max", [MARGINS, "tiny"], "positive", {}),
        ("ReduceSum", ["positive", "last_axis"], "total", {"keepdims": 1}),
        ("Div", ["positive", "total"], SCORES, {}),
    ],
}
_CONSTANTS: dict[Link, dict[str, NDArray[Any]]] = {
    "logistic": {"one": np.ones(1, np.float32)},
    "share": {"zero": np.zeros((), np.float32), "one": np.ones((), np.float32)},
    "shares": {"tiny": np.array([SMALLEST_SHARE], np.float32), "last_axis": np.array([1])},
}
