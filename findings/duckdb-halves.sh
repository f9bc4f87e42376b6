#!/usr/bin/env bash
# DuckDB 1.5 rounds a half to the even integer if it is a DOUBLE, and away from zero if it is a decimal or text. So 0.5 and 2.5 become 0 and 2 in a
# cast of a column of DOUBLE, and 1 and 3 where the same CSV file is read with the column declared as INTEGER; `INSERT … VALUES (2.5)` stores 3, and
# with the number as a parameter 2; `round` of a DOUBLE gives 1 and 3. So round by name, before the cast: `round(x)` or
# `round_even(x, 0)`. Ends with 1 once that is different.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check duckdb==1.5.6
"$work/venv/bin/python" -W ignore - "$work/table.csv" <<'PYTHON'
import sys

import duckdb

path = sys.argv[1]
with open(path, "w") as file:
    file.write("hours\n0.5\n1.5\n2.5\n3.5\n")


def integers(query, parameters=()):
    return [value for (value,) in duckdb.execute(query, parameters).fetchall()]


duckdb.execute("CREATE TABLE stored (hours INTEGER)")
duckdb.execute("INSERT INTO stored VALUES (0.5), (1.5), (2.5), (3.5)")
duckdb.execute("CREATE TABLE bound (hours INTEGER)")
duckdb.execute("INSERT INTO bound VALUES (?), (?), (?), (?)", [0.5, 1.5, 2.5, 3.5])
found = {
    "CSV, read as guessed (DOUBLE), then cast": integers(f"SELECT hours::INTEGER FROM read_csv('{path}')"),
    "CSV, column declared as INTEGER": integers(f"SELECT hours FROM read_csv('{path}', columns = {{'hours': 'INTEGER'}}, header = true)"),
    "INSERT with the numbers as parameters": integers("FROM bound"),
    "INSERT with the numbers written out": integers("FROM stored"),
    "round of DOUBLE, then cast": integers(f"SELECT round(hours)::INTEGER FROM read_csv('{path}')"),
}
print(f"duckdb {duckdb.__version__}: 0.5, 1.5, 2.5, 3.5 as integers")
for way, values in found.items():
    print(f"{way}: {values}, sum {sum(values)}")
even, away = [0, 2, 2, 4], [1, 2, 3, 4]
sys.exit(list(found.values()) != [even, away, even, away, away])
PYTHON
