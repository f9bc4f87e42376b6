#!/usr/bin/env bash
# ONNX Runtime 1.32 takes any object in an array for a tensor of text and sends what Python prints of it: the bytes b"AA" become the five letters
# b'AA', None becomes "None" and NaN "nan". `onnx.helper.make_tensor` takes bytes and text for the same tensor, and what the inference protocol
# of KServe and Triton calls BYTES arrives as bytes, so a model gets a category that it has never seen, for every row, without a word. Decode
# bytes first, and look for what is missing. Ends with 1 once that is different.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
export ORT_DISABLE_TELEMETRY=1
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6 tritonclient==2.73.0
"$work/venv/bin/python" - <<'PYTHON'
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper
from tritonclient.utils import deserialize_bytes_tensor, serialize_byte_tensor

known = {"keys_strings": ["AA", "UA"], "values_int64s": [0, 1], "default_int64": -1}
codes = helper.make_node("LabelEncoder", ["carrier"], ["code"], domain="ai.onnx.ml", **known)
same = helper.make_node("Identity", ["carrier"], ["text"])
given = helper.make_tensor_value_info("carrier", TensorProto.STRING, [None])
made = [
    helper.make_tensor_value_info("code", TensorProto.INT64, [None]),
    helper.make_tensor_value_info("text", TensorProto.STRING, [None]),
]
opsets = [helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", 4)]
model = helper.make_model(helper.make_graph([codes, same], "g", [given], made), opset_imports=opsets, ir_version=10)
onnx.checker.check_model(model, full_check=True)
session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])

text = np.array(["AA", "UA"], dtype=object)
received = deserialize_bytes_tensor(serialize_byte_tensor(text).item())
tensors = [helper.make_tensor("t", TensorProto.STRING, [2], values) for values in (["AA", "UA"], [b"AA", b"UA"])]
one_tensor = tensors[0] == tensors[1] and numpy_helper.to_array(tensors[1]).tolist() == ["AA", "UA"]
print(f"onnxruntime {onnxruntime.__version__}; for onnx, bytes and text are one tensor: {one_tensor}")
found = {}
for name, array in {
    "text": text,
    "received": received,
    "missing": np.array([None, float("nan")], dtype=object),
}.items():
    code, seen = session.run(None, {"carrier": array})
    found[name] = code.tolist(), seen.tolist()
    print(f"{name} {array.tolist()}: seen as {seen.tolist()}, codes {code.tolist()}")
expected = {
    "text": ([0, 1], ["AA", "UA"]),
    "received": ([-1, -1], ["b'AA'", "b'UA'"]),
    "missing": ([-1, -1], ["None", "nan"]),
}
sys.exit(not one_tensor or found != expected)
PYTHON
