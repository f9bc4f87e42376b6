#!/usr/bin/env bash
# ONNX Runtime 1.32: `TreeEnsemble` (ai.onnx.ml 5) has two values of `post_transform` the wrong way round, and `Sigmoid` answers more than 1.
# The operator's definition has 1 for SOFTMAX and 2 for LOGISTIC. Ends with 1 once either is different.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
export ORT_DISABLE_TELEMETRY=1
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
"$work/venv/bin/python" - <<'PYTHON'
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

print(f"onnx {onnx.__version__}, onnxruntime {onnxruntime.__version__}")


def run(node, columns, made, value):
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, columns])
    graph = helper.make_graph([node], "g", [given], [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, made])])
    operators = [helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", 5)]
    model = helper.make_model(graph, opset_imports=operators, ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": value})[0]


def trees(post_transform):
    """Two trees of one leaf each: 1 to the first column, 2 to the second."""
    return helper.make_node(
        "TreeEnsemble", ["x"], ["y"], domain="ai.onnx.ml", n_targets=2, post_transform=post_transform, tree_roots=[0, 1],
        nodes_featureids=[0, 0], nodes_splits=numpy_helper.from_array(np.zeros(2, np.float32)),
        nodes_modes=numpy_helper.from_array(np.ones(2, np.uint8)), nodes_truenodeids=[0, 1], nodes_falsenodeids=[0, 1],
        nodes_trueleafs=[1, 1], nodes_falseleafs=[1, 1], leaf_targetids=[0, 1],
        leaf_weights=numpy_helper.from_array(np.array([1, 2], np.float32)),
    )  # fmt: skip


row = np.zeros((1, 1), np.float32)
sums = np.array([1.0, 2.0])
softmax, logistic = np.exp(sums) / np.exp(sums).sum(), 1 / (1 + np.exp(-sums))
one, two = run(trees(1), 1, 2, row)[0], run(trees(2), 1, 2, row)[0]
print(f"post_transform 1, SOFTMAX by definition: {one}; softmax is {softmax.round(6)}, logistic {logistic.round(6)}")
print(f"post_transform 2, LOGISTIC by definition: {two}")
grid = np.linspace(-30, 30, 60_001, dtype=np.float32)[:, None]
chances = run(helper.make_node("Sigmoid", ["x"], ["y"]), 1, 1, grid)
print(f"Sigmoid: largest {chances.max():.9g}; at −18.5 {chances[11_500, 0]:.3g}, right is {1 / (1 + np.exp(18.5)):.3g}")
as_found = np.allclose(one, logistic) and np.allclose(two, softmax) and chances.max() > 1 and chances[11_500, 0] == 0
sys.exit(not as_found)
PYTHON
