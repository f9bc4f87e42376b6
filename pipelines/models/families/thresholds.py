"""Thresholds of trees, moved off the values of the training rows.

XGBoost splits at training values: nearly every threshold of its model is the number of some training row, to the last bit. Moved
into the gap below that number, a threshold sends every training row the same way and discloses none.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.data.cuts import moved


def between_rows(booster: Any, values: Callable[[int], NDArray[np.float32]]) -> Any:
    """Return the same booster with every threshold moved between two neighbouring values of the rows.

    Args:
        values: returns the distinct values of a feature, by its position; ascending, without NaN.

    Every row is scored as before. Where two neighbours have no float32 between them the threshold stays.
    """
    model = json.loads(booster.save_raw("json"))
    boosted = model["learner"]["gradient_booster"]
    trees = boosted.get("gbtree", boosted)["model"]["trees"]  # DART holds them a level further down
    is_split = np.concatenate([np.array(tree["left_children"]) >= 0 for tree in trees])
    features = np.concatenate([tree["split_indices"] for tree in trees])
    conditions = np.concatenate([tree["split_conditions"] for tree in trees])
    for index in np.unique(features[is_split]).tolist():
        chosen = is_split & (features == index)
        conditions[chosen] = moved(conditions[chosen].astype(np.float32), values(index))
    start = 0
    for tree in trees:
        end = start + len(tree["split_conditions"])
        tree["split_conditions"] = conditions[start:end].tolist()
        start = end
    result = booster.copy()  # with its settings, such as the number of threads
    result.load_model(bytearray(json.dumps(model).encode()))
    return result
