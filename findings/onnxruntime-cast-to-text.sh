#!/usr/bin/env bash
# ONNX Runtime 1.32: `Cast` of a double to a string writes eight digits, so different numbers become one text: identifiers above 99,999,999,
# or prices to the cent above 999,999.99. A double needs up to 17 digits, and ONNX's own reference evaluator writes them. An encoder of
# categories that come as doubles then takes one for another, without a word. Cast them to INT64 first, or send text. Ends with 1 once that is different.
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


def texts(kind, values):
    return run("Cast", kind, TensorProto.STRING, values, to=TensorProto.STRING).tolist()


numbers = np.array([20_240_101_123.0, 20_240_101_199.0, 1_234_567.89, 1_234_567.91, 1 / 3])
found = texts(TensorProto.DOUBLE, numbers)
for number, text in zip(numbers.tolist(), found):
    print(f"{number!r} as a double becomes {text!r}")
whole = texts(TensorProto.INT64, np.array([20_240_101_123, 20_240_101_199]))
print(f"the first two as INT64: {whole}")
sys.exit(not (found[0] == found[1] and found[2] == found[3] and found[4] == "0.33333333" and len(set(whole)) == 2))
PYTHON
