"""Thresholds of the trees that are no values of the training rows.

XGBoost splits at values that it has met: nearly every threshold of its model is the number of some training row, to the last bit.
Moved into the gap below that number, it sends every training row the same way and tells of none.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

_BITS = 24  # of a float32's mantissa
Numbers = NDArray[np.float64]


def between_rows(booster: Any, matrix: NDArray[np.float32]) -> Any:
    """The same booster with every threshold moved between two neighbouring values of `matrix`, rows × features.

    Every row of the matrix is scored as before. Where two neighbours have no float32 between them the threshold stays.
    """
    model = json.loads(booster.save_raw("json"))
    trees = model["learner"]["gradient_booster"]["model"]["trees"]
    is_split = np.concatenate([np.array(tree["left_children"]) >= 0 for tree in trees])
    features = np.concatenate([tree["split_indices"] for tree in trees])
    conditions = np.concatenate([tree["split_conditions"] for tree in trees])
    for feature in np.unique(features[is_split]):
        chosen = is_split & (features == feature)
        values = np.unique(matrix[:, feature])
        conditions[chosen] = moved(conditions[chosen].astype(np.float32), values[~np.isnan(values)])
    start = 0
    for tree in trees:
        end = start + len(tree["split_conditions"])
        tree["split_conditions"] = conditions[start:end].tolist()
        start = end
    result = booster.copy()  # with its settings, such as the number of threads
    result.load_model(bytearray(json.dumps(model).encode()))
    return result


def moved(thresholds: NDArray[np.float32], values: NDArray[np.float32]) -> Numbers:
    """For each threshold t the roundest number with the same ones of `values` (ascending, each once) below it as below t.

    Beyond the outermost value, where a split tells missing rows from all others, it is a power of two beyond t.
    """
    at = np.searchsorted(values, thresholds, side="left")
    framed = np.concatenate([[-np.inf], values, [np.inf]]).astype(np.float64)
    below, above = framed[at], framed[at + 1]
    inside, wide = np.isfinite(below) & np.isfinite(above), thresholds.astype(np.float64)
    result = np.sign(wide) * 2.0 ** np.frexp(wide)[1]
    result[np.isinf(below) & (wide > 0) | np.isinf(above) & (wide < 0)] = 0.0
    result[inside] = _roundest(below[inside], above[inside], wide[inside])
    return result


def _roundest(below: Numbers, above: Numbers, otherwise: Numbers) -> Numbers:
    """The number between the two (both excluded) that is a multiple of the largest power of two; `otherwise` where none is."""
    result, is_open = otherwise.copy(), np.ones(len(below), np.bool_)
    exponents = np.frexp(np.maximum(np.abs(below), np.abs(above)))[1]
    for bit in range(_BITS + 1):
        step = 2.0 ** (exponents - bit)
        candidates = (np.floor(below / step) + 1) * step
        found = is_open & (candidates < above)
        result[found] = candidates[found]
        is_open &= ~found
    return result
