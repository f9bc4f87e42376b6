#!/usr/bin/env bash
# ONNX Runtime 1.32: `Normalizer` with norm MAX divides a row by its largest value and not by its largest magnitude: [-4, 2] becomes [-2, 1],
# beyond the unit that it promises, and a row of negative numbers changes its signs. ONNX's reference evaluator and scikit-learn's
# Normalizer(norm="max") divide by the magnitude. L1 and L2 are right. Ends with 1 once that is different.
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
from onnx import TensorProto, helper

print(f"onnx {onnx.__version__}, onnxruntime {onnxruntime.__version__}")


def run(operator, kind, made, *values, rank=1, domain="", **attributes):
    names = [f"x{number}" for number in range(len(values))]
    node = helper.make_node(operator, names, ["y"], domain=domain, **attributes)
    given = [helper.make_tensor_value_info(name, kind, [None] * value.ndim) for name, value in zip(names, values)]
    graph = helper.make_graph([node], "g", given, [helper.make_tensor_value_info("y", made, [None] * rank)])
    operators = [helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", 5)]
    model = helper.make_model(graph, opset_imports=operators, ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, dict(zip(names, values)))[0]


from onnx.reference import ReferenceEvaluator  # noqa: E402 - beside its use


def of(rows, norm):
    return run("Normalizer", TensorProto.FLOAT, TensorProto.FLOAT, np.float32(rows), rank=2, domain="ai.onnx.ml", norm=norm)


rows = [[-4, 2], [-1, -2], [3, 4]]
right = np.array(rows) / np.abs(rows).max(axis=1, keepdims=True)
found = of(rows, "MAX")
for row, one, other in zip(rows, found.tolist(), right.tolist()):
    print(f"MAX of {row}: {one}; by the largest magnitude {other}")
node = helper.make_node("Normalizer", ["x"], ["y"], domain="ai.onnx.ml", norm="MAX")
graph = helper.make_graph(
    [node], "g", [helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, 2])],
    [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 2])],
)  # fmt: skip
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("ai.onnx.ml", 4)], ir_version=10)
reference = ReferenceEvaluator(model).run(None, {"x": np.float32(rows)})[0]
print(f"ONNX's reference evaluator: {reference.tolist()}")
print(f"L1 of [-1, 3]: {of([[-1, 3]], 'L1')[0].tolist()}")
sys.exit(not (found[0].tolist() == [-2, 1] and found[1].tolist() == [1, 2] and np.allclose(reference, right)))
PYTHON
