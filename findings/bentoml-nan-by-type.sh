#!/usr/bin/env bash
# BentoML 1.4: what becomes of NaN in an answer depends on the type that the endpoint declares. As an array, a frame, a `dict` or a pydantic model it
# is null, and so is Infinity in an array. As `float`, `list[float]` or a list of such models it is the word NaN, with status 200 and
# `application/json`: no JSON, so JavaScript, Go and Java refuse the whole answer, the good values with it. Look for NaN before an answer is
# returned. Ends with 1 once that is different.
set -euo pipefail
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
export BENTOML_DO_NOT_TRACK=true BENTOML_HOME="$work/bentoml"
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --disable-pip-version-check bentoml==1.4.40 numpy==2.4.6 pandas==3.1.1
cat > "$work/service.py" <<'PYTHON'
import bentoml
import numpy as np
import pandas as pd
import pydantic

NAN = float("nan")


class Answer(pydantic.BaseModel):
    score: float


@bentoml.service
class Scores:
    @bentoml.api
    def array(self) -> np.ndarray:
        return np.array([NAN, float("inf")])

    @bentoml.api
    def frame(self) -> pd.DataFrame:
        return pd.DataFrame({"score": [NAN]})

    @bentoml.api
    def dictionary(self) -> dict:
        return {"score": NAN}

    @bentoml.api
    def model(self) -> Answer:
        return Answer(score=NAN)

    @bentoml.api
    def models(self) -> list[Answer]:
        return [Answer(score=NAN)]

    @bentoml.api
    def numbers(self) -> list[float]:
        return [NAN, 1.0]

    @bentoml.api
    def number(self) -> float:
        return NAN
PYTHON
cd "$work"
"$work/venv/bin/python" -W ignore - <<'PYTHON'
import asyncio
import json
import logging
import sys

import bentoml
import httpx
from service import Scores

logging.disable(logging.CRITICAL)


async def ask():
    application, names = Scores.to_asgi(), ("array", "frame", "dictionary", "model", "models", "numbers", "number")
    async with application.router.lifespan_context(application):
        transport = httpx.ASGITransport(application)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return {name: await client.post(f"/{name}", json={}) for name in names}


def refuse(word):
    raise ValueError(word)


def is_json(text):
    try:
        json.loads(text, parse_constant=refuse)
    except ValueError:
        return False
    return True


answers = asyncio.run(ask())
print(f"bentoml {bentoml.__version__}")
for name, answer in answers.items():
    print(
        f"{name}: {answer.status_code}, {answer.headers['content-type']}, {answer.text}, JSON: {is_json(answer.text)}"
    )
valid = [name for name, answer in answers.items() if is_json(answer.text)]
fine = all(
    answer.status_code == 200 and answer.headers["content-type"] == "application/json" for answer in answers.values()
)
sys.exit(not (fine and valid == ["array", "frame", "dictionary", "model"] and answers["array"].json() == [None, None]))
PYTHON
