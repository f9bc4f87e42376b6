"""What a person reads before a model is deployed: verdict, gates and scores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from contract.bundle import evidence, manifest
from contract.errors import ConfigurationError
from pipelines import paths
from pipelines.runs.outcomes.description import description

MONTHS = ("2013-01", "2013-02")


def _score(figure: float, lower: float, upper: float) -> dict[str, Any]:
    return {"roc_auc": figure, "bounds": {"roc_auc": {"lower_bound": lower, "upper_bound": upper}}}


def test_description_shows_verdict_gates_and_scores(tmp_path: Path) -> None:
    check = {
        "name": "better than the prior",
        "verdict": "passed",
        "figure": 0.26346,
        "lower_bound": 0.24152,
        "upper_bound": 0.3,
    }
    approval = {"verdict": "approved", "headline": "roc_auc", "checks": [check], "weak": [], "breaks": []}
    for path, content in (
        (paths.GATES, approval),
        (paths.METRICS, {**_score(0.75, 0.7, 0.8), "against": {"prior": _score(0.5, 0.5, 0.5)}}),
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(json.dumps(content))
    lines = description(tmp_path, MONTHS, "0" * 40).splitlines()
    assert lines[0] == "Gates: **approved**, months 2013-01 to 2013-02, commit `000000000000`"
    assert "| this model | 0.7500 | 0.7000 | 0.8000 |" in lines
    assert "| prior | 0.5000 | 0.5000 | 0.5000 |" in lines
    assert "| better than the prior | passed | 0.2635 | 0.2415 | 0.3000 |" in lines


def test_description_names_the_bundle_of_this_evaluation_and_of_no_other(tmp_path: Path) -> None:
    approval = {"verdict": "approved", "headline": "roc_auc", "checks": [], "weak": [], "breaks": []}
    metrics = {**_score(0.75, 0.7, 0.8), "against": {}}
    bundle = tmp_path / paths.BUNDLE
    for path, content in (
        (paths.GATES, approval),
        (paths.METRICS, metrics),
        (paths.BUNDLE / evidence.GATES, approval),
        (paths.BUNDLE / manifest.FILE_NAME, {}),
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(json.dumps(content))
    said = f"Bundle `{manifest.digest_of(bundle)}`"
    assert description(tmp_path, MONTHS, "0" * 40).splitlines()[2] == said
    (bundle / evidence.GATES).write_text(json.dumps({**approval, "verdict": "held"}))
    assert "Bundle" not in description(tmp_path, MONTHS, "0" * 40)


def test_run_that_an_earlier_version_recorded_has_figures_without_bounds(tmp_path: Path) -> None:
    approval = {"verdict": "approved", "headline": "roc_auc", "checks": [], "weak": [], "breaks": []}
    metrics = {"roc_auc": 0.75, "against": {"prior": {"roc_auc": 0.5}}}
    for path, content in ((paths.GATES, approval), (paths.METRICS, metrics)):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(json.dumps(content))
    assert "| this model | 0.7500 |  |  |" in description(tmp_path, MONTHS, "0" * 40).splitlines()


def test_description_says_so_when_nothing_was_evaluated(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="run the stage `evaluate` first"):
        description(tmp_path, MONTHS, "0" * 40)
