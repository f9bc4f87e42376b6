"""The usual server: FastAPI with a typed request, around the same XGBoost model. Run by uvicorn in the environment `bench`.

PEER_MODEL     directory with model.ubj and schema.json
PEER_VARIANT   predict_proba: XGBClassifier on a pandas frame; inplace_predict: the Booster on a numpy array
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from fastapi import FastAPI
from pydantic import BaseModel, create_model

from benchmarks.peers.bench import encoding

DIRECTORY = Path(os.environ["PEER_MODEL"])
SCHEMA = json.loads((DIRECTORY / "schema.json").read_bytes())
LABELS = SCHEMA["target"]["labels"]
THRESHOLD = SCHEMA["target"]["threshold"]
_TYPES: dict[str, Any] = {"number": float, "boolean": bool, "category": str, "timestamp": datetime}


def _row_model() -> type[BaseModel]:
    """Return the pydantic model that one would write by hand for the fields of the schema."""
    fields: dict[str, Any] = {
        field["name"]: (_TYPES[field["kind"]], ...) if field["required"] else (_TYPES[field["kind"]] | None, None)
        for field in SCHEMA["fields"]
    }
    return create_model("Row", **fields)


Row: Any = _row_model()


class Request(BaseModel):
    """The body of a request: its rows."""

    rows: list[Row]


class Prediction(BaseModel):
    """The answer for one row."""

    probability: float
    label: Literal[tuple(LABELS)]  # type: ignore[valid-type]


class Response(BaseModel):
    """The answers for the rows of a request."""

    predictions: list[Prediction]


def _predict_proba() -> Callable[[Sequence[dict[str, Any]]], list[float]]:
    import xgboost

    model = xgboost.XGBClassifier(n_jobs=1)
    model.load_model(DIRECTORY / "model.ubj")
    encode = encoding.frame_encoder(SCHEMA)

    def probabilities(rows: Sequence[dict[str, Any]]) -> list[float]:
        # By position: the model was trained on a matrix without names.
        found: list[float] = model.predict_proba(encode(rows).to_numpy())[:, 1].tolist()
        return found

    return probabilities


def _inplace_predict() -> Callable[[Sequence[dict[str, Any]]], list[float]]:
    # XGBoost imports these two where they are installed. This peer needs neither, so it must not pay for them.
    sys.modules["pandas"] = sys.modules["sklearn"] = None  # type: ignore[assignment]
    import xgboost

    booster = xgboost.Booster({"nthread": 1}, model_file=DIRECTORY / "model.ubj")
    encode = encoding.lean_encoder(SCHEMA)

    def probabilities(rows: Sequence[dict[str, Any]]) -> list[float]:
        found: list[float] = booster.inplace_predict(encode(rows)).tolist()
        return found

    return probabilities


VARIANTS = {"predict_proba": _predict_proba, "inplace_predict": _inplace_predict}
score = VARIANTS[os.environ["PEER_VARIANT"]]()
app = FastAPI()


@app.get("/readyz")
async def ready() -> dict[str, bool]:
    """Answer 200 once the model is loaded."""
    return {"ready": True}


# `async def`: for work this short a thread pool costs more than it gains (the peer at its best).
@app.post("/predict")
async def predict(request: Request) -> Response:
    """Score the rows."""
    probabilities = score([row.model_dump() for row in request.rows])
    return Response(
        predictions=[Prediction(probability=value, label=LABELS[value >= THRESHOLD]) for value in probabilities]
    )
