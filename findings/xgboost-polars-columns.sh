#!/usr/bin/env bash
# XGBoost 3.2 knows the names of a polars frame or an Arrow table when it learns, and not when it answers: `XGBRegressor.predict` and
# `Booster.inplace_predict` take their columns by position, also with `validate_features=True`. Columns in another order, or of other names,
# give other answers without a word. The same in pandas, or as a DMatrix, is a ValueError. So select the columns by the model's own names
# before it is asked. Ends with 1 once that is different.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
  xgboost-cpu==3.2.0 scikit-learn==1.9.1 polars==2.1.0 pyarrow==26.0.1 pandas==3.1.1 numpy==2.4.6
"$work/venv/bin/python" -W ignore - <<'PYTHON'
import sys

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import xgboost as xgb

values = np.random.default_rng(0).normal(size=(500, 3))
target = 2 * values[:, 0] + values[:, 1]
names, others = ["income", "debt", "age"], ["age", "income", "debt"]
frames = {
    "pandas": pd.DataFrame(values, columns=names),
    "polars": pl.DataFrame(values, schema=names),
    "Arrow": pa.table({name: values[:, at] for at, name in enumerate(names)}),
}
print(f"xgboost {xgb.__version__}")


def difference(predict, frame):
    try:
        return float(np.abs(predict(frame) - right).max())
    except ValueError:
        return "ValueError"


found = {}
for library, frame in frames.items():
    model = xgb.XGBRegressor(n_estimators=20, max_depth=3).fit(frame, target)
    booster, right = model.get_booster(), model.predict(frame)
    moved = frame[others] if library == "pandas" else frame.select(others)
    assert booster.feature_names == names
    ways = {
        "predict": model.predict,
        "inplace_predict": lambda table, booster=booster: booster.inplace_predict(table, validate_features=True),
        "DMatrix": lambda table, booster=booster: booster.predict(xgb.DMatrix(table)),
    }
    found[library] = {name: difference(way, moved) for name, way in ways.items()}
    print(f"{library}, columns in another order: {found[library]}")
unnamed = difference(model.predict, frames["Arrow"].rename_columns(["a", "b", "c"]))
print(f"Arrow, columns of other names: differs by {unnamed}")
refused = [*found["pandas"].values(), found["polars"]["DMatrix"], found["Arrow"]["DMatrix"]]
answered = [found[library][way] for library in ("polars", "Arrow") for way in ("predict", "inplace_predict")]
is_silent = all(isinstance(each, float) and each > 1 for each in answered) and unnamed == 0.0
sys.exit(not (set(refused) == {"ValueError"} and is_silent))
PYTHON
