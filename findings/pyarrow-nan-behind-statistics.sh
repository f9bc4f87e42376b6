#!/usr/bin/env bash
# pyarrow 26 finds NaN in a Parquet file, or not, by who wrote the file. A column's statistics leave NaN out, and pyarrow takes them for the whole
# truth: of a file by itself or polars, `is_null(nan_is_null=True)` finds no NaN, `~(x <= 5)` neither, and `x != 1` loses the NaN of a column
# whose other values are all 1. `is_nan` always finds it. DuckDB writes no statistics for such a column, so all of them work. Look for NaN with
# `is_nan`, or filter once the table is in memory. Ends with 1 once that is different.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check pyarrow==26.0.1 polars==2.1.0 duckdb==1.5.6
"$work/venv/bin/python" -W ignore - "$work" <<'PYTHON'
import math
import sys

import duckdb
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq

work, nan = sys.argv[1], math.nan
mixed, single = [1.0, nan, 3.0], [1.0, nan, 1.0]
x = ds.field("x")
filters = {
    "is_nan": (mixed, pc.is_nan(x)),
    "is_null(nan_is_null=True)": (mixed, x.is_null(nan_is_null=True)),
    "~(x <= 5)": (mixed, ~(x <= 5)),
    "x != 1": (single, x != 1),
}


def by_duckdb(values, path):
    rows = ", ".join(f"('{value}'::DOUBLE)" for value in values)
    duckdb.execute(f"COPY (SELECT * FROM (VALUES {rows}) t(x)) TO '{path}' (FORMAT parquet)")


writers = {
    "pyarrow": lambda values, path: pq.write_table(pa.table({"x": values}), path),
    "polars": lambda values, path: pl.DataFrame({"x": values}).write_parquet(path),
    "DuckDB": by_duckdb,
}


def finds(table, chosen):
    return any(map(math.isnan, ds.dataset(table).to_table(filter=chosen)["x"].to_pylist()))


found = {"memory": {name: finds(pa.table({"x": values}), chosen) for name, (values, chosen) in filters.items()}}
for writer, write in writers.items():
    found[writer] = {}
    for name, (values, chosen) in filters.items():
        path = f"{work}/{writer}.parquet"
        write(values, path)
        found[writer][name] = finds(path, chosen)
print(f"pyarrow {pa.__version__}: does a filter find the NaN?")
for place, said in found.items():
    print(f"{place}: {said}")
yes = dict.fromkeys(filters, True)
no = dict.fromkeys(filters, False) | {"is_nan": True}
sys.exit(found != {"memory": yes, "pyarrow": no, "polars": no, "DuckDB": yes})
PYTHON
