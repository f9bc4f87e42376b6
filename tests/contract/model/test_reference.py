"""Bins of the reference, counting in them, and the population stability index."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from contract.errors import BundleError
from contract.model.reference import Bins, Counter, Reference, predicted, stability_index
from contract.schema.schema import FeatureSchema, Field
from tests.contract.conftest import SCHEMA

BINS = Bins(("≤ 1", "≤ 2.5", "> 2.5", "missing"), (10, 20, 30, 0), (1.0, 2.5), (0, 1, 2))
CATEGORIES = Bins(("= UA", "other", "unknown", "missing"), (50, 20, 0, 0), (0.5, 1.5, 2.5), (1, 0, 1, 2))


def test_values_are_counted_between_the_edges_and_missing_ones_apart() -> None:
    column = np.array([-math.inf, 0, 1, 1.0000001, 2.5, 2.6, math.inf, math.nan, math.nan], np.float32)
    assert Counter([BINS]).count(column[np.newaxis]).tolist() == [3, 2, 2, 2]


def test_categories_share_bins_and_unknown_ones_have_their_own() -> None:
    column = np.array([0, 1, 1, 1, 2, 3, math.nan], np.float32)
    assert Counter([CATEGORIES]).count(column[np.newaxis]).tolist() == [3, 2, 1, 1]


def test_columns_are_counted_each_in_its_own_bins() -> None:
    columns = np.array([[0, 2, math.nan, math.inf], [0, 1, 1, math.nan]], np.float32)
    assert Counter([BINS, CATEGORIES]).count(columns).tolist() == [1, 1, 1, 1, 2, 1, 0, 1]
    assert Counter([]).count(columns[:0]).tolist() == []


def test_empty_column_counts_nothing() -> None:
    assert Counter([BINS]).count(np.empty((1, 0), np.float32)).tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize(
    "change",
    [
        {"names": ("a", "a", "b", "missing")},
        {"names": ("a", "b", "missing", "c")},
        {"rows": (1, 2, 3)},
        {"rows": (1, 2, 3, -1)},
        {"rows": (1, 2, 3, 0.5)},
        {"edges": (2.5, 1.0)},
        {"edges": (1.0, 1.0)},
        {"edges": (1.0, math.nan)},
        {"edges": (1.0, math.inf)},
        {"edges": (1.0,)},
        {"places": (0, 1, 3)},
        {"places": (0, 1, -1)},
        {"places": (0, 1)},
    ],
)
def test_bins_are_refused_when_their_parts_do_not_fit(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"bins need|every interval|ascend|whole numbers"):
        replace(BINS, **change)


def test_stability_index_is_the_one_of_the_formula() -> None:
    before, now = [100, 300, 0], [30, 20, 50]
    shares = [[(count + 0.5) / (sum(row) + 1.5) for count in row] for row in (before, now)]
    expected = sum((b - a) * math.log(b / a) for a, b in zip(*shares, strict=True))
    assert stability_index([before, now]) == pytest.approx(expected)
    assert stability_index([before, before]) == 0
    assert stability_index([[1000, 1000], [1, 1]]) == 0


def test_predictions_are_counted_by_probability_value_or_most_probable_label() -> None:
    scores = np.array([0.2, 0.7], np.float32)
    assert predicted("binary", scores) is scores
    chances = np.array([[0.2, 0.4, 0.4], [0.1, 0.2, 0.7]], np.float32)
    assert predicted("multiclass", chances).tolist() == [1, 2]  # of equals the first, as the predictor answers


def _reference(schema: FeatureSchema) -> Reference:
    return Reference(dict.fromkeys(schema.open_features, BINS), CATEGORIES)


def test_reference_comes_back_as_it_was_written() -> None:
    reference = _reference(SCHEMA)
    read = Reference.from_bytes(reference.to_bytes(), SCHEMA)
    assert read == reference
    assert list(read.features) == SCHEMA.feature_names


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda raw: raw.update(format=2), "format"),
        (lambda raw: raw.pop("prediction"), "prediction"),
        (lambda raw: raw.update(more=1), "more"),
        (lambda raw: raw["features"].pop("distance"), "features"),
        (lambda raw: raw["features"]["distance"].update(edges=[3, 1]), "ascend"),
        (lambda raw: raw["features"].update(distance=[1]), "reference"),
    ],
)
def test_reference_is_refused_when_it_is_not_one_of_these_features(change: Any, named: str) -> None:
    raw = json.loads(_reference(SCHEMA).to_bytes())
    change(raw)
    with pytest.raises(BundleError, match=named):
        Reference.from_bytes(json.dumps(raw).encode(), SCHEMA)


def test_features_of_a_pii_field_have_no_bins() -> None:
    fields = tuple(replace(field, pii=field.name == "wind") for field in SCHEMA.fields)
    schema = FeatureSchema.from_bytes(replace(SCHEMA, fields=fields).to_bytes())
    assert Field("wind", "number", required=False, pii=True) in schema.fields
    assert set(schema.feature_names) - set(schema.open_features) == {"log_wind", "wind_per_mile"}
    with pytest.raises(BundleError, match="features"):
        Reference.from_bytes(_reference(SCHEMA).to_bytes(), schema)
