#!/usr/bin/env bash
# BentoML 1.4: `bentoml.validators` do not check, they convert. An array declared with `DType("int64")` takes 1.9 as 1, "3" as 3 and true as 1, where
# a list of `int` in the same service is refused with status 400; `DataframeSchema(columns=("wind", "temp"))` gives a misspelled field as a column
# of NaN and drops the one that was sent. Both answer 200. So check the values, or declare the fields in a pydantic model. Ends with 1 once
# that is different.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
export BENTOML_DO_NOT_TRACK=true BENTOML_HOME="$work/bentoml"
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check bentoml==1.4.40 numpy==2.4.6 pandas==3.1.1
cat > "$work/service.py" <<'PYTHON'
from typing import Annotated

import bentoml
import numpy as np
import pandas as pd
from bentoml.validators import DataframeSchema, DType


@bentoml.service
class Echo:
    @bentoml.api
    def array(self, codes: Annotated[np.ndarray, DType("int64")]) -> list[int]:
        return codes.tolist()

    @bentoml.api
    def numbers(self, codes: list[int]) -> list[int]:
        return codes

    @bentoml.api
    def frame(self, rows: Annotated[pd.DataFrame, DataframeSchema(orient="records", columns=("wind", "temp"))]) -> str:
        return rows.to_json(orient="records")
PYTHON
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PYTHON'
import asyncio
import logging
import sys

import bentoml
import httpx
from service import Echo

logging.disable(logging.CRITICAL)
asked = {
    "whole numbers": ("array", {"codes": [1, 3, 1]}),
    "others, as an array": ("array", {"codes": [1.9, "3", True]}),
    "a fraction, as a list": ("numbers", {"codes": [1.9]}),
    "rows": ("frame", {"rows": [{"wind": 10.0, "temp": 39.0}]}),
    "misspelled rows": ("frame", {"rows": [{"wnd": 10.0, "temp": 39.0}]}),
}


async def ask():
    application = Echo.to_asgi()
    async with application.router.lifespan_context(application):
        transport = httpx.ASGITransport(application)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return {name: await client.post(f"/{path}", json=body) for name, (path, body) in asked.items()}


answers = asyncio.run(ask())
print(f"bentoml {bentoml.__version__}")
for name, answer in answers.items():
    print(f"{name} {asked[name][1]}: {answer.status_code} {answer.text[:120]}")
found = [(answer.status_code, answer.text if answer.status_code == 200 else "") for answer in answers.values()]
rows = '[{"wind":10.0,"temp":39.0}]', '[{"wind":null,"temp":39.0}]'
sys.exit(found != [(200, "[1, 3, 1]"), (200, "[1, 3, 1]"), (400, ""), (200, rows[0]), (200, rows[1])])
PYTHON
