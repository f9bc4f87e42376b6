"""A hold-out in which every outcome is the same label judges no model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from contract.errors import DataRejectedError
from pipelines import paths
from pipelines.data import splits, tables
from pipelines.data.history import accepted
from pipelines.params.params import Params
from pipelines.stages.evaluate import holdout
from tests.pipelines.conftest import write_months


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
