#!/usr/bin/env bash
# DuckDB 1.5: over a FLOAT column, a query with its bound written into it and the same query with the bound as a parameter find different rows.
# `x <= 0.1` makes the decimal 0.1 a FLOAT; `x <= ?` makes x a DOUBLE, in which the FLOAT 0.1 is 0.100000001 and too large. `1e-1`, a DOUBLE, is as
# the parameter is. polars and NumPy compare as the written one does. So a check that binds its bounds refuses values that are at them. Cast
# one side: `x <= CAST(? AS FLOAT)`. Ends with 1 once that is different.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check duckdb==1.5.6 polars==2.1.0 numpy==2.4.6
"$work/venv/bin/python" -W ignore - "$work/table.parquet" <<'PYTHON'
import sys

import duckdb
import numpy as np
import polars as pl

path = sys.argv[1]
table = pl.DataFrame({"x": [0.1, 0.2, 0.3]}, schema={"x": pl.Float32})
table.write_parquet(path)


def count(condition, *bounds):
    return duckdb.execute(f"SELECT count(*) FROM '{path}' WHERE {condition}", bounds).fetchone()[0]


found = {
    "x <= 0.1": count("x <= 0.1"),
    "x <= 1e-1": count("x <= 1e-1"),
    "x <= ?": count("x <= ?", 0.1),
    "x <= CAST(? AS FLOAT)": count("x <= CAST(? AS FLOAT)", 0.1),
    "x = 0.1": count("x = 0.1"),
    "x = ?": count("x = ?", 0.1),
    "x IN (0.1, 0.2)": count("x IN (0.1, 0.2)"),
    "x IN (?, ?)": count("x IN (?, ?)", 0.1, 0.2),
}
print(f"duckdb {duckdb.__version__}: rows of FLOAT 0.1, 0.2, 0.3")
for condition, rows in found.items():
    print(f"{condition}: {rows}")
others = {"polars": table.filter(pl.col("x") <= 0.1).height, "NumPy": int((table["x"].to_numpy() <= 0.1).sum())}
print(f"x <= 0.1 elsewhere: {others}")
sys.exit(not (list(found.values()) == [1, 0, 0, 1, 1, 0, 2, 0] and set(others.values()) == {1}))
PYTHON
