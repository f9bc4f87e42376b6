"""A model that is hardly better than the prior is not approved in silence, and a hold-out of one label judges none."""

from __future__ import annotations

import html
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from contract.errors import DataRejectedError
from contract.files import canonical_json, write_atomically
from pipelines import paths
from pipelines.data import splits, tables
from pipelines.data.history import accepted
from pipelines.params.params import Gates, Params
from pipelines.stages.evaluate import holdout
from pipelines.stages.evaluate import stage as evaluate
from pipelines.stages.evaluate.gates import conditions, gate
from pipelines.stages.evaluate.gates.conditions import Evidence
from pipelines.stages.features import stage as features
from pipelines.stages.screen import stage as screen
from pipelines.stages.train import stage as train
from pipelines.statistics.tasks import JUDGEMENTS
from tests.pipelines.conftest import write_months


def _price(noise: float) -> pl.DataFrame:
    """A price that two features decide together, which no linear model sees, and noise."""
    draw = np.random.default_rng(4)
    first, second = draw.uniform(-1, 1, (2, 6_000))
    price = 10 * np.sign(first * second) + draw.normal(0, noise, 6_000)
    return pl.DataFrame({"first": first, "second": second, "price": price})


@pytest.mark.parametrize(("noise", "is_weak"), [(36.0, True), (2.0, False)])
def test_weak_model_is_approved_with_a_word_in_evidence_report_and_log(
    workspace: Path, noise: float, is_weak: bool
) -> None:
    rows = workspace / paths.accepted("all")
    rows.parent.mkdir(parents=True)
    _price(noise).write_parquet(rows)
    names = ["first", "second"]
    raw: dict[str, Any] = {
        "name": "price",
        "data": {
            "source": {"kind": "files", "path": "t.csv", "version": "1"},
            "months": ["all"],
            "columns": {name: {"kind": "number"} for name in names},
        },
        "target": {"column": "price", "task": "regression"},
        "validate": {"rows": [1, 9_999]},
        "split": {"kind": "stratified"},
        "features": {name: {"transform": "value"} for name in names},
        "train": {"seed": 1, "max_depth": 3, "max_rounds": 60, "early_stopping_rounds": 10},
        "tune": {},
        "evaluate": {"bootstrap": 200},
        "gates": {},
        "serving": {},
    }
    params = Params.model_validate(raw)
    for stage in (features, screen, train):
        stage.run(params)
    write_atomically(paths.CHAMPION / "champion.json", canonical_json({"digest": None, "learned": None}))
    said = evaluate.run(params)
    approval = json.loads(paths.GATES.read_bytes())
    assert approval["approved"]
    assert len(approval["weak"]) == is_weak
    for place in (said, html.unescape(paths.EVALUATION.read_text())):
        assert ("hardly better than the prior, which uses no feature: it saves " in place) == is_weak


def _bounded(figure: float, lower_bound: float) -> dict[str, Any]:
    bounds = {"lower_bound": lower_bound, "upper_bound": 2 * figure - lower_bound}
    return {"figure": figure, **bounds, "unit": "rows", "clusters": 900, "rows": 900}


def _checks(comparison: dict[str, Any]) -> list[gate.Check]:
    return conditions.checks(Evidence({"prior": comparison, "linear": comparison}, None, None, 3), Gates())


@pytest.mark.parametrize(
    ("objective", "difference", "is_weak"),
    [
        ("logistic", 0.05, True),
        ("logistic", 0.2, False),
        ("squared_error", 0.114, True),  # an RMSE of 3,805 beside one of 4,043
        ("squared_error", 0.4, False),
        ("softmax", 0.05, True),
    ],
)
def test_weakness_is_less_than_a_medium_effect(objective: str, difference: float, is_weak: bool) -> None:
    comparison = _bounded(difference, difference / 2)
    assert bool(gate.weakness(_checks(comparison), JUDGEMENTS[objective])) == is_weak


def test_model_that_is_no_better_is_rejected_for_that_alone() -> None:
    comparison = _bounded(-0.02, -0.03)
    assert gate.weakness(_checks(comparison), JUDGEMENTS["logistic"]) == []


def test_model_that_is_no_better_than_the_prior_is_not_called_better() -> None:
    (said,) = gate.weakness(_checks(_bounded(-0.055, -0.3)), JUDGEMENTS["softmax"])
    assert said.startswith("no better than the prior, which uses no feature: log loss 5.5% (-19.0% to 30.0%) higher;")


@pytest.mark.parametrize("labels", [["kept", "broken"], ["kept", "broken", "lost"]])
def test_hold_out_of_one_label_is_refused_and_named(workspace: Path, raw: dict[str, Any], labels: list[str]) -> None:
    raw["target"] |= {"labels": labels, "task": "binary" if len(labels) == 2 else "multiclass"}
    params = Params.model_validate(raw)
    write_months(workspace)
    outcomes = tables.outcomes(accepted.read(params.data.months), params.target)
    is_held = (outcomes == labels.index("broken")).fill_null(value=False)
    parts = [splits.HOLDOUT if held else splits.TRAINING for held in is_held]
    tables.write(pl.DataFrame({splits.PART: parts}), paths.PARTS)
    said = f"has {is_held.sum()} rows with an outcome, all of them “broken”; judging a model takes two labels at least"
    with pytest.raises(DataRejectedError, match=said):
        holdout.load(params.data, params.target, params.split, params.features, None, seed=1)
