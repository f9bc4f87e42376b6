#!/usr/bin/env bash
# polars 2.1 reads a number beyond 64 signed bits, such as an order number of 20 digits, from a CSV file as Int128, and writes it to Parquet, where
# there is no such type: 16 bytes with a note for itself. pyarrow 26 and pandas 3.1 then cannot open the file, also for its other columns, and
# DuckDB 1.5 reads the bytes as a BLOB. 12345678901234567890 would fit UInt64, which all of them have. So cast to UInt64 or text, or read
# identifiers as text. Ends with 1 once that is different.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check polars==2.1.0 pyarrow==26.0.1 duckdb==1.5.6 pandas==3.1.1
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PYTHON'
import sys

import duckdb
import pandas as pd
import polars as pl
import pyarrow.parquet as pq

with open("orders.csv", "w") as file:
    file.write("order,quantity\n12345678901234567890,1\n7,2\n")
orders = pl.read_csv("orders.csv")
orders.write_parquet("orders.parquet")
orders.cast({"order": pl.UInt64}).write_parquet("cast.parquet")


def said(read):
    try:
        return read()
    except NotImplementedError as error:
        return f"refused ({error})"


def all_of(path):
    return {
        "polars": said(lambda: pl.read_parquet(path)["order"].to_list()),
        "pyarrow": said(lambda: pq.read_table(path)["order"].to_pylist()),
        "pyarrow, the other column": said(lambda: pq.read_table(path, columns=["quantity"])["quantity"].to_pylist()),
        "pandas": said(lambda: pd.read_parquet(path)["order"].tolist()),
        "DuckDB": said(lambda: [value for (value,) in duckdb.sql(f"SELECT \"order\" FROM '{path}'").fetchall()]),
    }


numbers = [12345678901234567890, 7]
found, cast = all_of("orders.parquet"), all_of("cast.parquet")
print(f"polars {pl.__version__} reads the orders as {orders.schema['order']}")
for name, values in found.items():
    print(f"{name}: {values}; as UInt64: {cast[name]}")
refused = "refused (Integers with more than 64 bits not implemented)"
wrong = {"polars": numbers, **dict.fromkeys(("pyarrow", "pyarrow, the other column", "pandas"), refused)}
wrong["DuckDB"] = [number.to_bytes(16, "little") for number in numbers]
right = dict.fromkeys(found, numbers) | {"pyarrow, the other column": [1, 2]}
sys.exit(orders.schema["order"] != pl.Int128 or found != wrong or cast != right)
PYTHON
