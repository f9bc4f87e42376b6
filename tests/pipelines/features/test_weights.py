"""Weights of rows and of labels: how they are computed, what is refused, and that every family learns by them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from contract.errors import ConfigurationError
from contract.model.predictor import Predictor
from contract.schema.schema import FeatureSchema
from pipelines import paths
from pipelines.data.training import Rows
from pipelines.models.families.registry import FAMILIES
from pipelines.params import file
from pipelines.params.params import Params, TargetParams
from pipelines.params.train import FAMILIES as SETTINGS
from pipelines.stages.features import stage as features
from pipelines.stages.features.weights import weights
from pipelines.stages.train import stage as train
from tests.pipelines.conftest import write_months

LABELS = {"column": "outcome", "task": "binary", "labels": ["kept", "broken"], "missing": 0.2}
NUMBER = {"column": "outcome", "task": "regression"}
SMALL: dict[str, dict[str, Any]] = {
    "gbtree": {"max_rounds": 10},
    "dart": {"max_rounds": 3},
    "forest": {"trees": 5},
    "histogram": {"max_rounds": 10},
    "linear": {},
}


def test_weight_of_a_row_is_its_own_times_that_of_its_label() -> None:
    outcomes, used = pl.Series([0, 1, 1, None, 1]), pl.Series([True, True, True, False, False])
    given = pl.Series("w", [2.0, 1.0, 0.5, None, 7.0])
    by_label = TargetParams.model_validate(LABELS | {"class_weight": {"broken": 3}})
    assert weights(by_label, given, outcomes, used).tolist() == [2, 3, 1.5, 0, 0]
    balanced = TargetParams.model_validate(LABELS | {"class_weight": "balanced"})
    assert weights(balanced, None, outcomes, used).tolist() == [1.5, 0.75, 0.75, 0, 0]
    assert weights(TargetParams.model_validate(LABELS), None, outcomes, used) is None


@pytest.mark.parametrize(
    ("values", "told"),
    [([1.0, -2.0, 1.0], "the first: -2"), ([1.0, None, 1.0], "the first: missing"), ([0.0, 0.0, 3.0], "is 0 in every")],
)
def test_weights_that_weigh_nothing_are_refused(values: list[float | None], told: str) -> None:
    outcomes, used = pl.Series([0, 1, 1]), pl.Series([True, True, False])
    with pytest.raises(ConfigurationError, match=f"target.weight is 'w', .*{told}.*allowed: numbers from 0") as caught:
        weights(TargetParams.model_validate(LABELS | {"weight": "w"}), pl.Series("w", values), outcomes, used)
    assert caught.value.exit_code == 78


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (LABELS | {"weight": "length"}, ["target.weight", "'length'"]),
        (LABELS | {"weight": "depot"}, ["target.weight names the column 'depot'", "category", "allowed: number"]),
        (LABELS | {"weight": "distance"}, ["target.weight names", "'distance'", "the feature 'distance' reads"]),
        (LABELS | {"class_weight": {"lost": 2}}, ["class_weight names 'lost'", "kept, broken"]),
        (LABELS | {"class_weight": {"kept": 0}}, ["target.class_weight", "greater than 0"]),
        (NUMBER | {"class_weight": "balanced"}, ["class_weight goes with labels only", "regression"]),
    ],
)
def test_weight_that_does_not_fit_is_refused_by_its_name(
    raw: dict[str, Any], target: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        file.parse(json.dumps(raw | {"target": target}).encode(), "params.yaml")
    told = str(caught.value)
    assert [word for word in words if word not in told] == [], told


def _weighed(raw: dict[str, Any]) -> Params:
    """Params by whose weight, a column that no feature reads, only the later hours count."""
    used = {name: raw["features"][name] for name in ("depot", "distance")}
    return Params.model_validate(raw | {"features": used, "target": LABELS | {"weight": "weight"}})


def _write_weights(workspace: Path, params: Params) -> None:
    """Far deliveries of the hours that count are late; of the others the near ones."""
    write_months(workspace)
    counts, far = pl.col("promised").dt.hour() > 9, pl.col("distance") > 50
    outcome = pl.when(counts == far).then(pl.lit("broken")).otherwise(pl.lit("kept"))
    for month in params.data.months:
        table = pl.read_parquet(paths.accepted(month))
        table.with_columns(outcome=outcome, weight=counts.cast(pl.Float64)).write_parquet(paths.accepted(month))


def test_every_family_learns_from_the_rows_that_count(workspace: Path, raw: dict[str, Any]) -> None:
    params = _weighed(raw)
    _write_weights(workspace, params)
    features.run(params)
    schema = FeatureSchema.from_bytes((paths.FEATURES / "schema.json").read_bytes())
    assert "weight" not in {field.name for field in schema.accepted}
    rows = Rows(paths.TRAINING_ROWS)
    counts = rows.weights == 1
    assert 0.3 < counts.mean() < 0.7
    assert set(np.unique(rows.weights)) == {0, 1}
    for name, family in FAMILIES.items():
        settings = SETTINGS[name].model_validate({"family": name, "seed": 1, **SMALL[name]})
        model, _ = family.train(rows, settings, schema)
        found = family.scores(model, rows.matrix, schema)
        right = (found > 0.5) == (rows.outcomes == 1)
        assert right[counts].mean() > 0.85, name
        assert right[~counts].mean() < 0.25, name


def test_model_of_weighed_rows_says_so_and_answers_without_the_weight(workspace: Path, raw: dict[str, Any]) -> None:
    params = _weighed(raw | {"train": raw["train"] | {"max_rounds": 5}})
    _write_weights(workspace, params)
    features.run(params)
    train.run(params)
    row = {"depot": "north", "distance": 80.0}
    (answer,) = Predictor.load(paths.BOOSTED).predict([row])
    assert answer["label"] in ("kept", "broken")
