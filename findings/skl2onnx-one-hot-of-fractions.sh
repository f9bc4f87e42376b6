#!/usr/bin/env bash
# skl2onnx 1.20: `OneHotEncoder(handle_unknown="ignore")` answers with zeros for a number that is no category. Converted, it cuts the number first:
# the ratings 0 to 3 were learned, and 1.5 is then the category 1, and -0.5 is 0. ONNX's operator looks up integers only, as its reference says;
# the converter refuses categories with fractions, and forgets that values may have some. `OrdinalEncoder` is converted right. So round, or
# refuse, before the model is asked. Ends with 1 once that is different.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
export ORT_DISABLE_TELEMETRY=1
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
  skl2onnx==1.20.0 onnx==1.23.2 onnxruntime==1.32.0 scikit-learn==1.9.1 numpy==2.4.6
"$work/venv/bin/python" -W ignore - <<'PYTHON'
import sys

import numpy as np
import onnxruntime
import skl2onnx
from onnx.reference import ReferenceEvaluator
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder

learned = np.array([[0], [1], [2], [3]], np.float32)
asked = np.array([[1.0], [1.5], [-0.5], [3.9], [4.0]], np.float32)
print(
    f"skl2onnx {skl2onnx.__version__}, onnxruntime {onnxruntime.__version__}; learned {learned.ravel().tolist()}, asked {asked.ravel().tolist()}"
)


def answers(encoder):
    model = skl2onnx.to_onnx(encoder.fit(learned), learned[:1])
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    made = {
        "scikit-learn": encoder.transform(asked),
        "ONNX Runtime": session.run(None, {session.get_inputs()[0].name: asked})[0],
        "onnx.reference": ReferenceEvaluator(model).run(None, {session.get_inputs()[0].name: asked})[0],
    }
    return {name: array.astype(int).tolist() for name, array in made.items()}


one_hot = answers(OneHotEncoder(handle_unknown="ignore", sparse_output=False))
ordinal = answers(OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1))
columns = {name: [row.index(1) if 1 in row else None for row in rows] for name, rows in one_hot.items()}
for name, found in columns.items():
    print(f"OneHotEncoder, {name}: column {found}; OrdinalEncoder: {[code for (code,) in ordinal[name]]}")
right, cut = [1, None, None, None, None], [1, 1, 0, 3, None]
wanted = {"scikit-learn": right, "ONNX Runtime": cut, "onnx.reference": cut}
sys.exit(columns != wanted or ordinal["scikit-learn"] != ordinal["ONNX Runtime"])
PYTHON
