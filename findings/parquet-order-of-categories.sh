#!/usr/bin/env bash
# An ordered category keeps its order through Parquet, but only as long as the file is written with dictionaries. pandas 3.1 and pyarrow 26 with
# `use_dictionary=False`, an option of encoding, bring the values back in another order, that of their first appearance, and still call it an
# order: of low < medium < high, the largest is then "low", and the codes that a model was trained on are other ones. pyarrow keeps the
# type, and not the list. So store the list beside the table. Ends with 1 once that is different.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check pandas==3.1.1 pyarrow==26.0.1 polars==2.1.0 numpy==2.4.6
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PYTHON'
import sys

import pandas as pd
import polars as pl
import pyarrow as pa

risk = pd.Categorical(["high", "low", "high"], categories=["low", "medium", "high"], ordered=True)
table = pd.DataFrame({"risk": risk})
table.to_parquet("dictionary.parquet")
table.to_parquet("plain.parquet", use_dictionary=False)
frame = pl.DataFrame({"risk": ["high", "low", "high"]}, schema={"risk": pl.Enum(["low", "medium", "high"])})
frame.write_parquet("enum.parquet")
frame.write_parquet("plain_enum.parquet", use_pyarrow=True, pyarrow_options={"use_dictionary": False})


def told(column):
    return list(column.cat.categories), column.cat.ordered, column.cat.codes.tolist(), column.max()


print(f"pandas {pd.__version__}, pyarrow {pa.__version__}")
found = {"in memory": told(table["risk"])}
found |= {
    name: told(pd.read_parquet(f"{name}.parquet")["risk"]) for name in ("dictionary", "plain", "enum", "plain_enum")
}
for name, (categories, ordered, codes, largest) in found.items():
    print(f"{name}: {' < '.join(categories)}, ordered {ordered}, codes {codes}, largest {largest}")
right, wrong = (["low", "medium", "high"], True, [2, 0, 2], "high"), (["high", "low"], True, [0, 1, 0], "low")
sys.exit(list(found.values()) != [right, right, wrong, right, wrong])
PYTHON
