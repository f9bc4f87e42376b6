#!/usr/bin/env bash
# Great Expectations 1.24: one suite, one table with gaps, and two verdicts. As a pandas frame, a row whose value is missing passes the row condition
# `Column("carrier") != "AA"` and fails a comparison of two columns; as a table of a database, neither. So a suite that was tried on a frame
# lets through, or stops, other rows in production. Say what a gap is: a condition on null beside it, `ignore_row_if="either_value_is_missing"`.
# Ends with 1 once that is different.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check great-expectations==1.24.1 sqlalchemy==2.0.58 pandas==3.1.1
"$work/venv/bin/python" -W ignore - "$work/flights.db" <<'PYTHON'
import logging
import sys

import great_expectations as gx
import pandas as pd
import sqlalchemy
from great_expectations.expectations.row_conditions import Column

logging.getLogger("great_expectations").setLevel(logging.CRITICAL)
flights = pd.DataFrame({"carrier": ["AA", "UA", None], "late": [0, 1, 9], "planned": [60, 60, 60], "flown": [55, 60, None]})
url = f"sqlite:///{sys.argv[1]}"
flights.to_sql("flights", sqlalchemy.create_engine(url), index=False)
context = gx.get_context(mode="ephemeral")
context.variables.progress_bars = {"globally": False, "metric_calculations": False}
frame = context.data_sources.add_pandas("memory").add_dataframe_asset("flights").add_batch_definition_whole_dataframe("all")
table = context.data_sources.add_sqlite("file", connection_string=url).add_table_asset("flights", table_name="flights")
batches = {
    "pandas": frame.get_batch({"dataframe": flights}),
    "SQLite": table.add_batch_definition_whole_table("all").get_batch(),
}
pair = {"column_A": "planned", "column_B": "flown", "or_equal": True}
asked = {
    "others than AA are at most 1 late": gx.expectations.ExpectColumnValuesToBeBetween(
        column="late", max_value=1, row_condition=Column("carrier") != "AA"
    ),
    "planned is at least flown": gx.expectations.ExpectColumnPairValuesAToBeGreaterThanB(**pair),
    "the same, where both are there": gx.expectations.ExpectColumnPairValuesAToBeGreaterThanB(
        **pair, ignore_row_if="either_value_is_missing"
    ),
}
print(f"Great Expectations {gx.__version__}; the third of three flights has neither carrier nor flown time")
found = {}
for name, expectation in asked.items():
    found[name] = [batch.validate(expectation).success for batch in batches.values()]
    print(f"{name}: " + ", ".join(f"{engine} {said}" for engine, said in zip(batches, found[name], strict=True)))
sys.exit(list(found.values()) != [[False, True], [False, True], [True, True]])
PYTHON
