"""Thresholds lie between the rows' values: no row is scored otherwise, and none is told of."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from pipelines.data.cuts import distinct, moved
from pipelines.models.families.thresholds import between_rows

OBJECTIVES = [
    {"objective": "binary:logistic"},
    {"objective": "multi:softprob", "num_class": 3},
    {"objective": "reg:squarederror"},
]


def _rows() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Long tails, negative numbers, codes, a column that only its gaps tell of, and gaps in all others."""
    draw = np.random.default_rng(5)
    matrix = np.stack([draw.lognormal(5, 2, 20_000), -draw.gamma(2, 3, 20_000), draw.integers(0, 9, 20_000),
                       draw.uniform(4, 9, 20_000)], axis=1).astype(np.float32)  # fmt: skip
    matrix[draw.random(matrix.shape) < 0.1] = np.nan
    outcomes = (np.nan_to_num(matrix[:, 0]) > 150).astype(int) + ((matrix[:, 1] < -5) ^ np.isnan(matrix[:, 3]))
    return matrix, outcomes


def _thresholds(booster: Any) -> dict[int, set[np.float32]]:
    found: dict[int, set[np.float32]] = {}
    for tree in json.loads(booster.save_raw("json"))["learner"]["gradient_booster"]["model"]["trees"]:
        for child, feature, at in zip(
            tree["left_children"], tree["split_indices"], tree["split_conditions"], strict=True
        ):
            if child >= 0:
                found.setdefault(feature, set()).add(np.float32(at))
    return found


@pytest.mark.parametrize("objective", OBJECTIVES, ids=lambda objective: objective["objective"])
def test_no_threshold_is_a_value_of_a_row_and_every_score_stays(objective: dict[str, Any]) -> None:
    import xgboost

    matrix, outcomes = _rows()
    labels = outcomes > 0 if objective["objective"] == "binary:logistic" else outcomes
    data = xgboost.QuantileDMatrix(matrix, labels, nthread=1)
    booster = xgboost.train(objective | {"max_depth": 5, "tree_method": "hist", "nthread": 1}, data, 40)
    values = [set(column.tolist()) for column in matrix.T]
    before, after = (
        _thresholds(booster),
        _thresholds(between_rows(booster, lambda index: distinct(matrix[:, index]).values)),
    )
    assert len(before) == len(after) == 4
    told = {feature: sum(float(at) in values[feature] for at in found) for feature, found in before.items()}
    assert sum(told.values()) > 0.9 * sum(map(len, before.values()))  # what this is for
    assert not [at for feature, found in after.items() for at in found if float(at) in values[feature]]
    moved_booster = between_rows(booster, lambda index: distinct(matrix[:, index]).values)
    assert (moved_booster.predict(data) == booster.predict(data)).all()
    assert moved_booster.save_raw("ubj") == between_rows(
        booster, lambda index: distinct(matrix[:, index]).values
    ).save_raw("ubj")


def test_threshold_becomes_the_roundest_number_of_its_gap() -> None:
    values = np.array([-7.3, -0.2, 3, 4, 1000.1, 1023.9], np.float32)
    at = np.array([-0.2, 3, 4, 1000.1, 1023.9], np.float32)
    assert moved(at, values).tolist() == [-4.0, 0.0, 3.5, 512.0, 1008.0]


def test_threshold_beyond_all_values_is_a_power_of_two_and_divides_them_as_before() -> None:
    values = np.array([3, 5.5], np.float32)
    assert moved(np.array([-1e-5, 11.00001], np.float32), values).tolist() == [-(2.0**-16), 16.0]
    assert moved(np.array([-14.00001, 1e-5], np.float32), -values).tolist() == [-16.0, 2.0**-16]


def test_threshold_stays_when_two_neighbours_have_nothing_between_them() -> None:
    first = np.float32(0.1)
    pair = np.array([first, np.nextafter(first, np.float32(1))])
    assert moved(pair[1:], pair).tolist() == [float(pair[1])]


def test_moved_thresholds_divide_any_values_as_before() -> None:
    draw = np.random.default_rng(2)
    for scale in (1e-30, 1e-3, 1.0, 1e9):
        values = np.unique((draw.normal(0, 1, 300) * scale).astype(np.float32))
        assert all(low < high for low, high in pairwise(values))
        found = moved(values, values)
        assert (np.searchsorted(values, found) == np.arange(len(values))).all()
        assert not set(found[1:].tolist()) & set(values.tolist())
        assert (found.astype(np.float32) == found).all()
