#!/usr/bin/env bash
# pyarrow 26: -0.0 equals 0.0 where they are compared, and is another value where they are hashed: `unique`, `value_counts`, `group_by`, dictionaries,
# `is_in` and joins. So a join loses rows whose keys are equal, and a group comes in two parts. polars 2.1, DuckDB 1.5 and pandas 3.1 know one
# zero; pandas with Arrow's types has two. Rounding -0.2 gives -0.0. Add 0.0 to a column before it is a key. Ends with 1 once that is different.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check pyarrow==26.0.1 polars==2.1.0 duckdb==1.5.6 pandas==3.1.1 numpy==2.4.6
"$work/venv/bin/python" -W ignore - <<'PYTHON'
import sys

import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

zeros = np.round([0.2, -0.2])
keys = pa.table({"key": zeros})
names = pa.table({"key": [0.0], "name": ["calm"]})
print(f"pyarrow {pa.__version__}: the keys are {zeros.tolist()}")
arrow = pd.Series(zeros, dtype="double[pyarrow]")
found = {
    "pyarrow, equal": pc.sum(pc.equal(keys["key"], 0.0)).as_py(),
    "pyarrow, unique": len(pc.unique(keys["key"])),
    "pyarrow, group_by": keys.group_by("key").aggregate([]).num_rows,
    "pyarrow, dictionary": len(keys["key"].combine_chunks().dictionary_encode().dictionary),
    "pyarrow, is_in": pc.sum(pc.is_in(keys["key"], pa.array([0.0]))).as_py(),
    "pyarrow, inner join": keys.join(names, "key", join_type="inner").num_rows,
    "pandas with double[pyarrow], unique": len(arrow.unique()),
    "pandas with double[pyarrow], isin": int(arrow.isin([0.0]).sum()),
    "pandas, unique": len(pd.Series(zeros).unique()),
    "pandas, merge": len(keys.to_pandas().merge(names.to_pandas())),
    "polars, unique": pl.Series(zeros).n_unique(),
    "polars, inner join": pl.from_arrow(keys).join(pl.from_arrow(names), on="key").height,
    "DuckDB, distinct": duckdb.sql("SELECT DISTINCT key FROM keys").arrow().read_all().num_rows,
    "DuckDB, inner join": len(duckdb.sql("SELECT * FROM keys JOIN names USING (key)").fetchall()),
}
for name, count in found.items():
    print(f"{name}: {count}")
sys.exit(list(found.values()) != [2, 2, 2, 2, 1, 1, 2, 1, 1, 2, 1, 2, 1, 2])
PYTHON
