"""One evaluation of the deliveries, for all tests of its report."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from contract.files import canonical_json, write_atomically
from contract.model.predictor import Predictor
from pipelines import paths
from pipelines.data import tables
from pipelines.params.params import Params
from pipelines.stages.evaluate import stage as evaluate
from pipelines.stages.evaluate.report import page
from pipelines.stages.evaluate.report.effects import BOOSTER, contributions
from pipelines.stages.evaluate.report.page import Found
from pipelines.stages.features import stage as features
from pipelines.stages.screen import stage as screen
from pipelines.stages.train import stage as train
from tests.pipelines.conftest import RAW, write_months


class Evaluated(NamedTuple):
    params: Params
    found: Found
    page: str
    card: str


@pytest.fixture(scope="package")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Evaluated:
    """An evaluation of the deliveries, with the findings that its page shows."""
    directory, before = tmp_path_factory.mktemp("report"), Path.cwd()
    os.chdir(directory)
    try:
        write_months(directory, noise=0.1)
        params = Params.model_validate(RAW)
        for stage in (features, screen, train):
            stage.run(params)
        write_atomically(paths.CHAMPION / "champion.json", canonical_json({"digest": None, "learned": None}))
        render, seen = page.render, []

        def watched(params: Params, found: Found) -> str:
            seen.append(found)
            return render(params, found)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(page, "render", watched)
            evaluate.run(params)
        _check_contributions(seen[0])
        return Evaluated(params, seen[0], paths.EVALUATION.read_text(), paths.MODEL_CARD.read_text())
    finally:
        os.chdir(before)


def _check_contributions(found: Found) -> None:
    """The contributions of a row and the bias sum to the margin of the model that is served."""
    import xgboost

    predictor = Predictor.load(paths.BOOSTED)
    table = tables.read(paths.accepted("2024-03")).head(40)
    matrix = predictor.encoder.encode_table(tables.columns_of(table, [field.name for field in predictor.schema.fields]))
    booster = xgboost.Booster(model_file=str(paths.BOOSTED / BOOSTER))
    bias = booster.predict(xgboost.DMatrix(matrix), pred_contribs=True)[:, -1]
    margins = contributions(paths.BOOSTED / BOOSTER, matrix)[:, 0].sum(axis=1) + bias
    assert np.abs(1 / (1 + np.exp(-margins)) - predictor.score_matrix(matrix)).max() < 1e-6
    assert found.effects is not None
    by_name = {entry["feature"]: entry for entry in found.effects["features"]}
    assert by_name["depot"]["direction"] is None
    assert found.effects["features"][0]["feature"] in ("distance", "hour")  # which make the outcome
    for entry in by_name.values():
        assert entry["mean_absolute"]["lower_bound"] <= entry["mean_absolute"]["upper_bound"]
