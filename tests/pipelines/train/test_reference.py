"""The reference that training writes: bins that tell of nobody, and what they are good for."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from contract.model.predictor import Predictor
from contract.model.reference import Counter, Reference, stability_index
from contract.schema.schema import Feature, FeatureSchema, Field, Target
from pipelines import paths
from pipelines.data.cuts import distinct
from pipelines.params.features.transforms import MINIMUM_COUNT
from pipelines.params.params import Params
from pipelines.stages.features import stage as features
from pipelines.stages.train import stage as train
from pipelines.stages.train.reference import category_bins, number_bins, reference
from tests.pipelines.conftest import write_months

DRAW = np.random.default_rng(5)
COLUMNS = {
    "normal": DRAW.normal(0, 3, 5000),
    "all different, far apart": np.exp(DRAW.uniform(0, 30, 3000)),
    "few values": DRAW.integers(0, 4, 2000),
    "nearly always zero": np.where(DRAW.random(4000) < 0.97, 0, DRAW.normal(50, 9, 4000)),
    "with infinities": np.r_[DRAW.normal(0, 1, 500), [np.inf] * 7, [-np.inf] * 3],
    "half missing": np.where(DRAW.random(3000) < 0.5, np.nan, DRAW.uniform(-1, 1, 3000)),
    "hardly missing": np.r_[DRAW.uniform(-1, 1, 300), [np.nan] * 9],
    "fewer rows than a bin": DRAW.normal(0, 1, 9),
    "nothing": np.full(50, np.nan),
    "neighbouring floats": np.repeat(np.nextafter(np.float32(1), np.float32(2)), 60).tolist() + [1.0] * 60,
}


@pytest.mark.parametrize("name", COLUMNS)
def test_bins_of_a_number_tell_of_no_row(name: str) -> None:
    column = np.asarray(COLUMNS[name], np.float32)
    bins = number_bins(distinct(column))
    assert not set(np.array(bins.edges, np.float32).tolist()) & set(column.tolist())
    assert all(count == 0 or count >= MINIMUM_COUNT for count in bins.rows)
    bounds = [-np.inf, *bins.edges, np.inf]
    counts = [int(((column > low) & (column <= high)).sum()) for low, high in pairwise(bounds)]
    counts[0] += int((column == -np.inf).sum())
    counts.append(int(np.isnan(column).sum()))
    assert list(bins.rows) == [count if count >= MINIMUM_COUNT else 0 for count in counts]


def test_bins_of_a_number_are_tenths_and_what_many_rows_share() -> None:
    assert len(number_bins(distinct(np.asarray(COLUMNS["normal"], np.float32))).rows) == 11
    shares = np.array(number_bins(distinct(np.asarray(COLUMNS["normal"], np.float32))).rows[:-1]) / 5000
    assert shares == pytest.approx([0.1] * 10, abs=0.001)
    assert number_bins(distinct(np.array([0] * 40 + [1] * 60, np.float32))).names == ("≤ 0.5", "> 0.5", "missing")
    assert number_bins(distinct(np.ones(40, np.float32))).names == ("any", "missing")


def test_small_categories_share_a_bin_and_rare_ones_are_not_counted() -> None:
    codes = np.repeat([0, 1, 2, 3, 4], [5000, 30, 3000, 12, 4]).astype(np.float32)  # 4: unknown
    bins = category_bins(
        distinct(np.r_[codes, [np.nan] * 20].astype(np.float32)), ["a", "b", "c", "d"], is_closed=False
    )
    assert dict(zip(bins.names, bins.rows, strict=True)) == {
        "= a": 5000,
        "= c": 3000,
        "other": 42,
        "unknown": 0,
        "missing": 20,
    }
    assert Counter([bins]).count(np.array([[0, 1, 2, 3, 4, np.nan]], np.float32)).tolist() == [1, 1, 2, 1, 1]


def test_labels_have_no_unknown_one() -> None:
    bins = category_bins(distinct(np.repeat([0.0, 1, 2], 40).astype(np.float32)), ["x", "y", "z"], is_closed=True)
    assert (bins.names, bins.rows) == (("= x", "= y", "= z", "missing"), (40, 40, 40, 0))


def test_features_of_pii_fields_are_left_out() -> None:
    schema = FeatureSchema(
        "m",
        "regression",
        Target("t"),
        (Field("open", "number"), Field("secret", "number", pii=True)),
        (
            Feature("a", "value", ("open",)),
            Feature("b", "log", ("secret",)),
            Feature("c", "ratio", ("open", "secret")),
        ),
    )
    matrix = DRAW.normal(0, 1, (400, 3)).astype(np.float32)
    made = reference(lambda name: distinct(matrix[:, schema.feature_names.index(name)]), matrix[:, 0], schema)
    assert list(made.features) == ["a"]
    assert Reference.from_bytes(made.to_bytes(), schema) == made


def test_same_distribution_has_a_small_index_and_a_shifted_one_a_large_one() -> None:
    bins = number_bins(distinct(np.asarray(COLUMNS["normal"], np.float32)))
    count = Counter([bins]).count
    same = [stability_index([bins.rows, count(DRAW.normal(0, 3, (1, 1000)).astype(np.float32))]) for _ in range(20)]
    assert max(same) < 0.1
    assert stability_index([bins.rows, count(DRAW.normal(2, 3, (1, 1000)).astype(np.float32))]) > 0.25


def test_train_writes_the_reference_of_its_rows_and_its_model(workspace: Path, raw: dict[str, Any]) -> None:
    raw["data"]["columns"]["weight"]["pii"] = True
    params = Params.model_validate(raw)
    write_months(workspace)
    features.run(params)
    train.run(params)
    schema = FeatureSchema.from_bytes((paths.BOOSTED / "schema.json").read_bytes())
    made = Reference.from_bytes((paths.BOOSTED / "reference.json").read_bytes(), schema)
    assert list(made.features) == ["depot", "distance", "hour", "depot_share"]
    table = pl.read_parquet(paths.TRAINING_ROWS / "*.parquet")
    for name, bins in made.features.items():
        assert Counter([bins]).count(table[name].to_numpy().astype(np.float32)[np.newaxis]).tolist() == list(
            bins.rows
        ), name
    matrix = table.select(schema.feature_names).to_numpy().astype(np.float32)
    scores = Predictor.load(paths.BOOSTED).score_matrix(np.ascontiguousarray(matrix))
    assert Counter([made.prediction]).count(scores[np.newaxis]).tolist() == list(made.prediction.rows)
    assert replace(schema.fields[0], pii=True) not in schema.fields
    assert {field.name for field in schema.fields if field.pii} == {"weight"}
