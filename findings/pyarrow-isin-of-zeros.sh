#!/usr/bin/env bash
# pyarrow 26: in a part of a Parquet file where a column is all 0.0, as the rain of a dry month, `isin([0.0, 1.0])` finds no row, and pandas 3.1 none by
# `filters=[("rain", "in", …)]`. The format wants -0.0 as the least of such a column and 0.0 as the largest; pyarrow takes that for the one value
# -0.0, and looks it up among those asked for, where -0.0 is not 0.0 (apache/arrow#46183, open). `==` finds the rows, and so do polars, DuckDB,
# and `isin` in memory. With another value in that part all are found. Use `==`, joined by `|`. Ends with 1 once that is different.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check pyarrow==26.0.1 polars==2.1.0 duckdb==1.5.6 pandas==3.1.1
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PYTHON'
import sys

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq

table = pa.table({"month": [1, 1, 1, 2, 2, 2], "rain": [0.0, 0.0, 0.0, 0.0, 0.0, 0.5]})
pq.write_table(table, "rain.parquet", row_group_size=3)
rain, asked = ds.field("rain"), [0.0, 1.0]
statistics = [pq.read_metadata("rain.parquet").row_group(group).column(1).statistics for group in (0, 1)]
print(
    f"pyarrow {pa.__version__}; rain of each month from {[each.min for each in statistics]} to {[each.max for each in statistics]}"
)
found = {
    "isin": ds.dataset("rain.parquet").to_table(filter=rain.isin(asked))["month"].to_pylist(),
    "pandas, in": pd.read_parquet("rain.parquet", filters=[("rain", "in", asked)])["month"].tolist(),
    "pandas, not in": pd.read_parquet("rain.parquet", filters=[("rain", "not in", asked)])["month"].tolist(),
    "isin, in memory": table.filter(rain.isin(asked))["month"].to_pylist(),
    "==": ds.dataset("rain.parquet").to_table(filter=(rain == 0.0) | (rain == 1.0))["month"].to_pylist(),
    "polars": pl.scan_parquet("rain.parquet").filter(pl.col("rain").is_in(asked)).collect()["month"].to_list(),
    "DuckDB": [
        month for (month,) in duckdb.sql("SELECT month FROM 'rain.parquet' WHERE rain IN (0.0, 1.0)").fetchall()
    ],
}
for name, months in found.items():
    print(f"{name}: months of the rows found {months}")
right = [1, 1, 1, 2, 2]
expected = {
    "isin": [2, 2],
    "pandas, in": [2, 2],
    "pandas, not in": [2],
    **dict.fromkeys(("isin, in memory", "==", "polars", "DuckDB"), right),
}
sys.exit(found != expected)
PYTHON
