"""Objectives of a number: which params.yaml may ask for, which outcomes they allow, and how their models are judged."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from contract.errors import ConfigurationError
from contract.files import canonical_json, write_atomically
from contract.schema.schema import FeatureSchema
from pipelines import paths
from pipelines.data import tables
from pipelines.params import file
from pipelines.params.params import Params
from pipelines.stages.evaluate import stage as evaluate
from pipelines.stages.features import stage as features
from pipelines.stages.train import stage as train
from tests.pipelines.conftest import write_months

NUMBER = {"column": "outcome", "task": "regression"}
BINARY = {"column": "outcome", "task": "binary", "labels": ["kept", "broken"]}


@pytest.mark.parametrize(
    ("target", "train", "words"),
    [
        ({"objective": "cubic"}, {}, ["target.objective", "'poisson'", "'cubic'"]),
        (BINARY | {"objective": "poisson"}, {}, ["'poisson'", "task binary", "allowed: logistic"]),
        ({"objective": "pinball"}, {}, ["'pinball'", "task regression", "squared_error"]),
        ({"objective": "huber"}, {}, ["slope is required", "huber"]),
        ({"objective": "tweedie"}, {}, ["power is required", "tweedie"]),
        ({"objective": "tweedie", "power": 2.5}, {}, ["target.power", "less than 2", "2.5"]),
        ({"slope": 3}, {}, ["slope does not go with", "squared_error"]),
        ({"quantiles": [0.5]}, {}, ["quantiles does not go with", "regression"]),
        ({"task": "quantiles"}, {}, ["quantiles is required"]),
        ({"task": "quantiles", "quantiles": [0.9, 0.5]}, {}, ["must ascend", "0.9, 0.5"]),
        ({"task": "quantiles", "quantiles": [0.5, 1]}, {}, ["target.quantiles.1", "less than 1"]),
        (
            {"objective": "poisson"},
            {"family": "forest"},
            ["train.family forest", "poisson", "allowed", "absolute_error"],
        ),
    ],
)
def test_objective_that_does_not_fit_is_refused_with_what_is_allowed(
    raw: dict[str, Any], target: dict[str, Any], train: dict[str, Any], words: list[str]
) -> None:
    raw |= {"target": NUMBER | target, "train": {"seed": 1} | train}
    with pytest.raises(ConfigurationError) as caught:
        file.parse(json.dumps(raw).encode(), "params.yaml")
    told = str(caught.value)
    assert [word for word in words if word not in told] == [], told
    assert caught.value.exit_code == 78


def _with_outcomes(workspace: Path, params: Params, outcome: pl.Expr) -> None:
    write_months(workspace)
    for month in params.data.months:
        table = tables.read(paths.accepted(month))
        tables.write(table.with_columns(outcome=outcome.cast(pl.Float64)), paths.accepted(month))


@pytest.mark.parametrize(
    ("objective", "smallest", "allowed"),
    [
        ({"objective": "poisson"}, -2, "squared_error, absolute_error, huber"),
        ({"objective": "tweedie", "power": 1.5}, -2, "squared_error, absolute_error, huber"),
        ({"objective": "gamma"}, 0, "squared_error, absolute_error, huber, poisson, tweedie"),
    ],
)
def test_outcomes_that_the_objective_does_not_allow_are_told_with_their_smallest(
    objective: dict[str, Any], smallest: int, allowed: str, workspace: Path, raw: dict[str, Any]
) -> None:
    params = Params.model_validate(raw | {"target": NUMBER | objective})
    _with_outcomes(workspace, params, pl.when(pl.col("order").str.ends_with("-7")).then(smallest).otherwise(5))
    with pytest.raises(ConfigurationError) as caught:
        features.run(params)
    assert f"target.objective is {objective['objective']}" in caught.value.message
    assert f"the smallest 'outcome' is {smallest}; allowed for these outcomes: {allowed}" in caught.value.message
    assert caught.value.exit_code == 78


@pytest.mark.parametrize(
    ("objective", "headline"),
    [
        ({"objective": "absolute_error"}, "mae"),
        ({"objective": "huber", "slope": 2.0}, "huber_loss"),
        ({"objective": "huber", "slope": 50.0}, "huber_loss"),
        ({"objective": "poisson"}, "deviance"),
        ({"objective": "tweedie", "power": 1.5}, "deviance"),
    ],
)
def test_model_is_judged_by_its_objective(
    objective: dict[str, Any], headline: str, workspace: Path, raw: dict[str, Any]
) -> None:
    raw |= {"target": NUMBER | objective, "train": raw["train"] | {"learning_rate": 0.5}}
    params = Params.model_validate(raw)
    far, late = pl.col("distance") > 50, pl.col("promised").dt.hour() > 9
    # No line sees it; far from 0, where the Huber loss of XGBoost's own start never comes back.
    _with_outcomes(workspace, params, pl.when(far != late).then(940).otherwise(970) + pl.int_range(pl.len()) % 3)
    features.run(params)
    train.run(params)
    target = FeatureSchema.from_bytes((paths.BOOSTED / "schema.json").read_bytes()).target
    assert objective.items() <= target.as_dict().items()
    write_atomically(paths.SCREENING, canonical_json({"suspects": {}}))
    write_atomically(paths.CHAMPION / "champion.json", canonical_json({"digest": None, "learned": None}))
    evaluate.run(params)
    measured, approval = json.loads(paths.METRICS.read_bytes()), json.loads(paths.GATES.read_bytes())
    assert approval["headline"] == headline
    losses = [found[headline] for found in (measured, measured["against"]["linear"], measured["against"]["prior"])]
    assert losses[0] < losses[1] / 2
    assert losses[0] < losses[2] / 2
    assert 935 < measured["holdout"]["mean"] < 975
    assert measured["mae"] < 7
