#!/usr/bin/env bash
# A time with seven digits of a second, as .NET and SQL Server's datetime2 write it: msgspec 0.22 rounds it to microseconds, everybody else cuts
# it off. The last tick of January is February for msgspec, and January for Python, NumPy, pandas, polars, DuckDB and pydantic; so a row changes
# its month between a request and the table. Cut the digits before msgspec sees them. Ends with 1 once that is different.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
  msgspec==0.22.0 pydantic==2.14.3 polars==2.1.0 duckdb==1.5.6 pandas==3.1.1 numpy==2.4.6
"$work/venv/bin/python" -W ignore - <<'PYTHON'
import sys
from datetime import datetime

import duckdb
import msgspec
import numpy as np
import pandas as pd
import polars as pl
import pydantic

text = "2013-01-31T23:59:59.9999999"
found = {
    "datetime.fromisoformat": datetime.fromisoformat(text),
    "numpy": np.datetime64(text, "us").item(),
    "pandas": pd.to_datetime(text).to_pydatetime(),
    "polars": pl.Series([text]).str.to_datetime(time_unit="us")[0],
    "duckdb": duckdb.sql(f"SELECT CAST('{text}' AS TIMESTAMP)").fetchone()[0],
    "pydantic": pydantic.TypeAdapter(datetime).validate_python(text),
    "msgspec": msgspec.convert(text, datetime),
}
for name, at in found.items():
    print(f"{name}: {at}")
*others, rounded = found.values()
sys.exit(not (set(others) == {datetime(2013, 1, 31, 23, 59, 59, 999999)} and rounded == datetime(2013, 2, 1)))
PYTHON
