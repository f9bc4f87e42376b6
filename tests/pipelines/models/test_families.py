"""Any family goes through the same stages: trained, exported, compared with its library, judged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from contract.errors import ConfigurationError
from contract.files import canonical_json, write_atomically
from pipelines import paths
from pipelines.data import tables
from pipelines.models.families.registry import FAMILIES
from pipelines.params import file, train
from pipelines.params.params import Params
from pipelines.stages.evaluate import stage as evaluate
from pipelines.stages.features import stage as features
from pipelines.stages.train import stage as training
from tests.pipelines.conftest import write_months


def test_every_family_of_the_params_can_be_trained() -> None:
    assert FAMILIES.keys() == train.FAMILIES.keys()


def test_family_is_gbtree_where_none_is_named(raw: dict[str, Any]) -> None:
    assert (
        Params.model_validate(raw).train
        == Params.model_validate(raw | {"train": raw["train"] | {"family": "gbtree"}}).train
    )


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"family": "boosted", "seed": 1}, ["'boosted'", "'gbtree', 'dart', 'forest', 'histogram', 'linear'"]),
        ({"family": "linear", "seed": 1, "max_depth": 3}, ["'train.max_depth'", "allowed are: seed, ", "family"]),
    ],
)
def test_key_of_another_family_is_refused_by_its_name(
    raw: dict[str, Any], section: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        file.parse(json.dumps(raw | {"train": section}).encode(), "params.yaml")
    told = str(caught.value)
    assert [word for word in words if word not in told] == [], told


def test_linear_model_is_trained_and_judged_like_any_other(workspace: Path, raw: dict[str, Any]) -> None:
    raw |= {"train": {"family": "linear", "seed": 1}, "gates": {"linear_margin": 0.01}}
    params = Params.model_validate(raw)
    write_months(workspace)
    for month in params.data.months:
        table = tables.read(paths.accepted(month))
        is_late = pl.col("distance") + pl.int_range(pl.len()) * 61 % 40 > 70  # as a line can see
        tables.write(
            table.with_columns(outcome=pl.when(is_late).then(pl.lit("broken")).otherwise(pl.lit("kept"))),
            paths.accepted(month),
        )
    features.run(params)
    assert "rounds" not in training.run(params)
    assert sorted(path.name for path in paths.BOOSTED.iterdir()) == ["model.onnx", "reference.json", "schema.json"]
    assert (paths.BOOSTED / "model.onnx").read_bytes() == (paths.LINEAR / "model.onnx").read_bytes()
    found = json.loads(paths.TRAINING.read_bytes())
    assert sum(found["importance"].values()) == pytest.approx(1)
    assert min(found["importance"].values()) >= 0
    assert max(found["importance"], key=found["importance"].get) == "distance"

    write_atomically(paths.SCREENING, canonical_json({"suspects": {}}))
    write_atomically(paths.CHAMPION / "champion.json", canonical_json({"digest": None, "learned": None}))
    assert "no live model to compare with" in evaluate.run(params)
    page = paths.EVALUATION.read_text()
    assert "boosting rounds" not in page
    assert "share of the total spread" in page
