#!/usr/bin/env bash
# skl2onnx 1.20 converts without a word, and with other results where values are missing: `SimpleImputer(add_indicator=True)` loses its indicator
# columns, so what comes behind it gets fewer than it was fitted on; `OrdinalEncoder` gives a missing number -1 instead of NaN or of
# `encoded_missing_value`. So compare every export with the library on rows with gaps. Ends with 1 once that is different.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
export ORT_DISABLE_TELEMETRY=1
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
  skl2onnx==1.20.0 scikit-learn==1.9.1 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
"$work/venv/bin/python" -W ignore - <<'PYTHON'
import sys

import numpy as np
import onnxruntime
import skl2onnx
import sklearn
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OrdinalEncoder

print(f"skl2onnx {skl2onnx.__version__}, scikit-learn {sklearn.__version__}, onnxruntime {onnxruntime.__version__}")
values = np.array([[1.0], [2.0], [np.nan], [3.0]] * 10, np.float32)


def converted(model):
    content = skl2onnx.to_onnx(model, values, target_opset={"": 21, "ai.onnx.ml": 3}).SerializeToString()
    return onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])


def both(model):
    model.fit(values)
    return model.transform(values)[:4].tolist(), converted(model).run(None, {"X": values})[0][:4].tolist()


pairs = {
    "SimpleImputer(add_indicator=True)": both(SimpleImputer(add_indicator=True)),
    "OrdinalEncoder()": both(OrdinalEncoder()),
    "OrdinalEncoder(encoded_missing_value=-2)": both(OrdinalEncoder(encoded_missing_value=-2)),
}
for name, (right, found) in pairs.items():
    print(f"{name}, of 1, 2, NaN, 3: {right}\n  converted: {found}")
differ = [not np.array_equal(np.array(right), np.array(found), equal_nan=True) for right, found in pairs.values()]
sys.exit(not all(differ))
PYTHON
