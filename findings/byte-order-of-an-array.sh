#!/usr/bin/env bash
# NumPy arrays may be big-endian, as NetCDF-3 and FITS files and Java's buffers are, and they print and calculate like others. ONNX Runtime 1.32
# and XGBoost 3.2 take their bytes for little-endian ones: 1.0 becomes 4.6e-41, in features, labels and weights, without a word. scikit-learn
# and polars read them right; pyarrow, DuckDB and ONNX's own reference evaluator refuse them. So `array.astype(array.dtype.newbyteorder("="))`
# before either one. Ends with 1 once that is different.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
export ORT_DISABLE_TELEMETRY=1
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
  onnx==1.23.2 onnxruntime==1.32.0 xgboost-cpu==3.2.0 scikit-learn==1.9.1 scipy==1.17.1 numpy==2.4.6
"$work/venv/bin/python" -W ignore - <<'PYTHON'
import io
import sys

import numpy as np
import onnx
import onnxruntime
import xgboost as xgb
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator
from scipy.io import netcdf_file
from sklearn.ensemble import HistGradientBoostingRegressor

values = np.random.default_rng(0).normal(size=(300, 2)).astype("<f4")
file = io.BytesIO()
with netcdf_file(file, "w") as written:
    written.createDimension("row", 300)
    written.createDimension("column", 2)
    written.createVariable("wind", "f4", ("row", "column"))[:] = values
    written.flush()
    stored = file.getvalue()
wind = netcdf_file(io.BytesIO(stored), mmap=False).variables["wind"].data
print(f"onnxruntime {onnxruntime.__version__}, xgboost {xgb.__version__}; SciPy reads {wind.dtype.str} from NetCDF, equal: {(wind == values).all()}")
target = (3 * values[:, 0]).astype("<f4")

node = helper.make_node("Add", ["x", "x"], ["y"])
given, made = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [None, 2]) for name in "xy")
graph = helper.make_graph([node], "g", [given], [made])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
onnx.checker.check_model(model, full_check=True)
session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
booster = xgb.train({"max_depth": 3}, xgb.DMatrix(values, target), 20)
trees = HistGradientBoostingRegressor(max_iter=20).fit(values, target)


def outcome(found, expected):
    try:
        return "right" if np.array_equal(found(), expected) else "WRONG"
    except Exception as error:
        return f"refused ({type(error).__name__})"


ones = np.ones(300, ">f4")
found = {
    "onnxruntime": outcome(lambda: session.run(None, {"x": wind})[0], values + values),
    "xgboost, features": outcome(lambda: booster.inplace_predict(wind), booster.inplace_predict(values)),
    "xgboost, labels": outcome(lambda: xgb.DMatrix(values, target.astype(">f4")).get_label(), target),
    "xgboost, weights": outcome(lambda: xgb.DMatrix(values, weight=ones).get_weight(), ones),
    "scikit-learn": outcome(lambda: trees.predict(wind), trees.predict(values)),
    "onnx.reference": outcome(lambda: ReferenceEvaluator(model).run(None, {"x": wind})[0], values + values),
}
for name, said in found.items():
    print(f"{name}: {said}")
print(f"onnxruntime's {wind[0, 0]} + {wind[0, 0]}: {session.run(None, {'x': wind})[0][0, 0]}")
print(f"xgboost's weight of {ones[0]}: {xgb.DMatrix(values, weight=ones).get_weight()[0]}")
wrong = [name for name, said in found.items() if said == "WRONG"]
sys.exit(not (wrong == list(found)[:4] and found["scikit-learn"] == "right" and found["onnx.reference"].startswith("refused")))
PYTHON
