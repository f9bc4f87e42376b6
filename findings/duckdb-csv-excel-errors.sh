#!/usr/bin/env bash
# DuckDB 1.5 guesses that `#` begins a comment where that makes the rest of a column numbers. Spreadsheets write `#N/A`, `#REF!` and `#DIV/0!` for
# what they could not compute: in the first column of a CSV file, such a cell takes its whole row with it, without a word, and also where
# `header`, `delim` and `quote` are given. In another column, or as `n/a`, the row stays. So give `comment = ''`, or all of these words as
# `nullstr`. Ends with 1 once that is different.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check duckdb==1.5.6 pandas==3.1.1
"$work/venv/bin/python" -W ignore - "$work/prices.csv" <<'PYTHON'
import sys

import duckdb
import pandas as pd

path = sys.argv[1]


def rows(text, options=""):
    with open(path, "w") as file:
        file.write(text)
    return duckdb.execute(f"SELECT count(*) FROM read_csv('{path}'{options})").fetchone()[0]


print(f"duckdb {duckdb.__version__}")
lines = [f"{number}.5,{number}\n" for number in range(100)]
sheet = "".join(["price,quantity\n", *lines, "#N/A,7\n", "#DIV/0!,8\n"])
turned = "".join(["quantity,price\n", *(f"{number},{number}.5\n" for number in range(100)), "7,#N/A\n", "8,#DIV/0!\n"])
known = ", header = true, delim = ',', quote = '\"'"
nulls = ", nullstr = ['#N/A', '#DIV/0!']"
found = {
    "as it is": rows(sheet),
    "with `header`, `delim` and `quote`": rows(sheet, known),
    "with `nullstr`": rows(sheet, nulls),
    "with `comment = ''`": rows(sheet, ", comment = ''"),
    "in the second column": rows(turned),
    "as n/a": rows(sheet.replace("#N/A", "n/a").replace("#DIV/0!", "n/a")),
}
with open(path, "w") as file:
    file.write(sheet)
for name, count in found.items():
    print(f"102 rows, {name}: DuckDB reads {count}")
print(f"pandas reads {len(pd.read_csv(path))}")
lost = [found.pop("as it is"), found.pop("with `header`, `delim` and `quote`")]
sys.exit(not (lost == [100, 100] and set(found.values()) == {102}))
PYTHON
