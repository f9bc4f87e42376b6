#!/usr/bin/env bash
# One pattern, `^\d{4}-\d{2}$` for a month, has three meanings. JSON Schema and OpenAPI say that it is JavaScript's: no other digits than 0 to 9, and
# the end is the end. jsonschema 4.26 and msgspec 0.22 use Python's `re`, which takes "2013-01" with a line break behind it, and Arabic digits;
# pydantic 2.14 and polars 2.1 take the digits and not the line break; jsonschema-rs 0.60, DuckDB 1.5 and pyarrow 26 neither. So a key passes
# the check at the door and not the one in the table. Write `[0-9]`, and use `fullmatch`. Ends with 1 once that is different.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check \
  jsonschema==4.26.0 jsonschema-rs==0.60.3 msgspec==0.22.0 pydantic==2.14.4 polars==2.1.0 duckdb==1.5.6 pyarrow==26.0.1 pandas==3.1.1
"$work/venv/bin/python" - <<'PYTHON'
import sys
from typing import Annotated

import duckdb
import jsonschema
import jsonschema_rs
import msgspec
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pydantic

PATTERN = r"^\d{4}-\d{2}$"
SCHEMA = {"type": "string", "pattern": PATTERN}
Text = Annotated[str, msgspec.Meta(pattern=PATTERN)]
adapter = pydantic.TypeAdapter(Annotated[str, pydantic.Field(pattern=PATTERN)])


def accepts(check, error):
    try:
        check()
    except error:
        return False
    return True


ways = {
    "jsonschema": lambda text: accepts(lambda: jsonschema.validate(text, SCHEMA), jsonschema.ValidationError),
    "msgspec": lambda text: accepts(lambda: msgspec.convert(text, Text), msgspec.ValidationError),
    "pandas": lambda text: bool(pd.Series([text]).str.match(PATTERN)[0]),
    "pydantic": lambda text: accepts(lambda: adapter.validate_python(text), pydantic.ValidationError),
    "polars": lambda text: pl.Series([text]).str.contains(PATTERN)[0],
    "jsonschema-rs": lambda text: jsonschema_rs.is_valid(SCHEMA, text),
    "DuckDB": lambda text: duckdb.execute("SELECT regexp_matches(?, ?)", [text, PATTERN]).fetchone()[0],
    "pyarrow": lambda text: pc.match_substring_regex(pa.array([text]), PATTERN)[0].as_py(),
}
arabic = "2013-01".translate({ord("0") + digit: chr(0x660 + digit) for digit in range(10)})
texts = {"2013-01": "2013-01", "with a line break": "2013-01\n", "in Arabic digits": arabic, "2013-1": "2013-1"}
found = {name: [way(text) for text in texts.values()] for name, way in ways.items()}
print(f"{PATTERN} accepts {', '.join(texts)}")
for name, accepted in found.items():
    print(f"{name}: {accepted}")
as_python, digits_only, neither = [True, True, True, False], [True, False, True, False], [True, False, False, False]
sys.exit(list(found.values()) != [as_python] * 3 + [digits_only] * 2 + [neither] * 3)
PYTHON
