#!/usr/bin/env bash
# scikit-learn 1.9 takes polars frames, in which a gap is null; its imputer looks for NaN. In a column of numbers null arrives as NaN and is filled. In
# one of text it arrives as None: `SimpleImputer(strategy="most_frequent")` leaves it as it is, without a word, `OrdinalEncoder` gives it a code as
# if it were a category, and not `encoded_missing_value`. The same table in pandas is filled, and encoded as a gap. So a pipeline that moves
# from pandas to polars learns from other numbers. Say `missing_values=None`, or fill text in polars. Ends with 1 once that is different.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check scikit-learn==1.9.1 polars==2.1.0 pandas==3.1.1 numpy==2.4.6
"$work/venv/bin/python" -W ignore - <<'PYTHON'
import sys

import pandas as pd
import polars as pl
import sklearn
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OrdinalEncoder

columns = {"carrier": ["UA", None, "AA", "UA"], "wind": [3.0, None, 5.0, 3.0]}
frames = {"pandas": pd.DataFrame(columns), "polars": pl.DataFrame(columns)}
print(f"scikit-learn {sklearn.__version__}; the second row has neither carrier nor wind")
found = {}
for library, frame in frames.items():
    text = frame[["carrier"]] if library == "pandas" else frame.select("carrier")
    number = frame[["wind"]] if library == "pandas" else frame.select("wind")
    found[library] = {
        "carrier, filled": SimpleImputer(strategy="most_frequent").fit_transform(text)[1, 0],
        "wind, filled": SimpleImputer(strategy="most_frequent").fit_transform(number)[1, 0].item(),
        "carrier, encoded": OrdinalEncoder(encoded_missing_value=-1).fit_transform(text)[1, 0].item(),
        "wind, encoded": OrdinalEncoder(encoded_missing_value=-1).fit_transform(number)[1, 0].item(),
    }
    print(f"{library}: {found[library]}")
filled = SimpleImputer(strategy="most_frequent", missing_values=None).fit_transform(frames["polars"].select("carrier"))[1, 0]
print(f"polars, missing_values=None: {filled!r}")
same = {"carrier, filled": "UA", "wind, filled": 3.0, "carrier, encoded": -1.0, "wind, encoded": -1.0}
other = same | {"carrier, filled": None, "carrier, encoded": 2.0}
sys.exit(not (found == {"pandas": same, "polars": other} and filled == "UA"))
PYTHON
