"""The two usual encodings of a request as XGBoost's matrix: a pandas frame, and a lean list of numbers.

Both support the transforms of the flights' schema (value, category, calendar) and return the training's features.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import numpy as np

Schema = dict[str, Any]
Matrix = Any

_PARTS: dict[str, Callable[[datetime], int]] = {
    "minute_of_day": lambda at: at.hour * 60 + at.minute,
    "weekday": lambda at: at.weekday(),
    "day": lambda at: at.day,
}


def frame_encoder(schema: Schema) -> Callable[[Sequence[dict[str, Any]]], Matrix]:
    """Return an encoder of rows to a float32 data frame, column by column, as in a notebook."""
    import pandas as pd

    columns = [field["name"] for field in schema["fields"]]
    parts = {
        "minute_of_day": lambda values: values.dt.hour * 60 + values.dt.minute,
        "weekday": lambda values: values.dt.weekday,
        "day": lambda values: values.dt.day,
    }

    def column(feature: Schema, frame: Any) -> Any:
        values, options = frame[feature["inputs"][0]], feature["options"]
        if feature["transform"] == "category":
            codes = {name: code for code, name in enumerate(options["categories"])}
            return values.map(codes).fillna(len(codes))
        if feature["transform"] == "calendar":
            return parts[options["part"]](pd.to_datetime(values))
        return pd.to_numeric(values)

    def encode(rows: Sequence[dict[str, Any]]) -> Matrix:
        frame = pd.DataFrame(rows, columns=columns)
        encoded = {feature["name"]: column(feature, frame) for feature in schema["features"]}
        return pd.DataFrame(encoded).astype("float32")

    return encode


def lean_encoder(schema: Schema) -> Callable[[Sequence[dict[str, Any]]], Matrix]:
    """Return an encoder of rows to a float32 array, by one table of functions made at start."""
    steps = [(feature["inputs"][0], _step(feature)) for feature in schema["features"]]

    def encode(rows: Sequence[dict[str, Any]]) -> Matrix:
        return np.array([[step(row[name]) for name, step in steps] for row in rows], dtype=np.float32)

    return encode


def _step(feature: Schema) -> Callable[[Any], float]:
    options = feature["options"]
    if feature["transform"] == "category":
        codes = {name: code for code, name in enumerate(options["categories"])}
        other = len(codes)
        return lambda value: codes.get(value, other)
    if feature["transform"] == "calendar":
        return _PARTS[options["part"]]
    if feature["transform"] == "value":
        return lambda value: math.nan if value is None else value
    raise ValueError(f"the peers do not support the transform {feature['transform']!r}")
