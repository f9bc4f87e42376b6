#!/usr/bin/env bash
# ONNX Runtime 1.32: whether NaN wins in `ReduceMax`, `ReduceMin`, `ArgMax` and `ArgMin` depends on its place. First among the values it does,
# as in NumPy and in the operators' reference; anywhere else it is skipped, so a row with a NaN gets a label that looks sound. `Max` and `Min`
# of two tensors always give NaN. So look for NaN before an answer is chosen. Ends with 1 once that is different.
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


def of(operator, values):
    reduced = {"axis": 0} if operator.startswith("Arg") else {}
    made = TensorProto.INT64 if reduced else TensorProto.FLOAT
    return run(operator, TensorProto.FLOAT, made, np.array(values, np.float32), rank=0, keepdims=0, **reduced).item()


nan = float("nan")
found = {}
for operator in ("ReduceMax", "ReduceMin", "ArgMax", "ArgMin"):
    found[operator] = [of(operator, values) for values in ([nan, 1, 2], [1, nan, 2], [1, 2, nan])]
    print(f"{operator} with NaN first, second, third of three: {found[operator]}")
pair = run("Max", TensorProto.FLOAT, TensorProto.FLOAT, np.float32([nan, 1]), np.float32([1, nan]))
print(f"Max of two tensors, one with NaN: {pair.tolist()}; NumPy's argmax of [1, nan, 2]: {np.argmax([1, nan, 2])}")
as_found = np.isnan(found["ReduceMax"]).tolist() == [True, False, False] and found["ArgMax"] == [0, 2, 1] and np.isnan(pair).all()
sys.exit(not as_found)
PYTHON
