"""Declared slices: every figure has bounds, small ones stay undecided, and the union and the intersection are both decided."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from contract.files import canonical_json
from pipelines.stages.evaluate.gates import decision, gate
from pipelines.stages.evaluate.gates.predictions import Predictions
from pipelines.stages.evaluate.slices import declared
from pipelines.statistics.tasks import judgement
from tests.pipelines.evaluate.slices.made import KINDS, enumerated, figures, given, predictions

# Of format 6.
BOUNDS = {
    "binary": [0.820078, 0.845511, 0.797735, 0.852045, -0.006194, 0.014429, 0.322504, 0.344932],
    "regression": [0.972963, 1.013816, 0.938133, 1.023658, 0.009095, 0.023397, 0.801137, 0.821675],
}
PLACES = ["place a", "place b", "place c", "place d"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_slice_has_bounds_and_a_small_one_is_counted(kind: str) -> None:
    found = declared.section(figures(kind, predictions(kind)))
    assert [f"{entry['by']} {entry['value']}" for entry in found["slices"]] == [*PLACES, "rare many"]
    assert found["left_out"] == [{"by": "rare", "values": 1, "rows": 12}]
    for entry in found["slices"]:
        assert entry["clusters"] == 40
        for figure in (*entry["figures"].values(), entry["live"]):
            assert figure["lower_bound"] <= figure["figure"] <= figure["upper_bound"]
        assert entry["live"]["verdict"] in (gate.PASSED, gate.UNDECIDED)
        assert 0 < entry["live"]["detectable"] < 1
    assert b"NaN" not in canonical_json(found)
    assert (found["some"]["worse"], found["some"]["tests"]) == ([], 5)


def test_slice_has_the_figures_of_its_rows_alone() -> None:
    from sklearn.metrics import roc_auc_score

    found = predictions("binary")
    entry = declared.section(figures("binary", found))["slices"][1]
    rows = np.array(found.groups["slice.place"].to_list()) == "b"
    labels, model, live = found.outcomes[rows], found.scores["model"][rows], found.scores["live"][rows]
    assert entry["figures"]["headline"]["figure"] == pytest.approx(roc_auc_score(labels, model))
    assert entry["live"]["figure"] == pytest.approx(roc_auc_score(labels, model) - roc_auc_score(labels, live))
    assert entry["figures"]["calibration_gap"]["figure"] == pytest.approx(model.mean() - labels.mean())
    assert entry["figures"]["outcome"]["figure"] == pytest.approx(labels.mean())


@pytest.mark.parametrize("row", [0, 300, 599])
def test_holdout_with_one_positive_decides_nothing(row: int) -> None:
    made = predictions("binary", days=30, rows=600)
    order = np.argsort(made.scores["model"])
    decided = decision.decide(replace(made, outcomes=(np.arange(600) == order[row]).astype(np.int8)), given("binary"))
    by_auc = [check for check in decided["checks"] if "ROC-AUC" in check["measure"]]
    assert by_auc
    assert {(check["verdict"], check["clusters"]) for check in by_auc} == {(gate.UNDECIDED, 1)}
    assert decided["verdict"] == "held"


@pytest.mark.parametrize("kind", BOUNDS)
def test_other_bounds_are_another_format(kind: str) -> None:
    decided = decision.decide(predictions(kind), given(kind))
    entry, check = decided["slices"]["slices"][0], decided["checks"][0]
    found = [
        round(each[name], 6)
        for each in (
            decided["figures"][judgement(given(kind).target).headline],
            entry["figures"]["headline"],
            entry["live"],
            check,
        )
        for name in ("lower_bound", "upper_bound")
    ]
    # Where these change, raise the format: `gates --recompute` of a bundle with the former ones would blame the bundle.
    assert (decided["format"], found) == (6, pytest.approx(BOUNDS[kind], abs=2e-6))


@pytest.mark.parametrize("kind", KINDS)
def test_gate_fails_when_one_slice_is_worse(kind: str) -> None:
    found = predictions(kind, worse="c")
    decided = decision.decide(found, given(kind, slice_margin=0.05, regression_margin=0.5))
    check = next(check for check in decided["checks"] if check["name"] == declared.NAME)
    assert (check["verdict"], decided["slices"]["some"]["worse"][0]) == (gate.FAILED, "place c")
    assert "(place c)" in check["measure"]
    assert declared.NAME in gate.reason(check)
    assert decided["slices"]["every"]["failed"] >= 1


def test_no_gate_on_slices_when_no_margin_is_declared() -> None:
    decided = decision.decide(predictions("binary", worse="c"), given("binary"))
    assert declared.NAME not in {check["name"] for check in decided["checks"]}
    assert decided["slices"]["some"]["worse"] == ["place c", "rare many"]  # shown all the same


def test_small_slices_leave_every_undecided_and_some_passed() -> None:
    found = predictions("regression", rows=3000)
    place = np.where(np.arange(3000) % 75 == 0, "z", found.groups["slice.place"].to_numpy())  # 40 rows
    found = replace(found, groups=found.groups | {"slice.place": enumerated(place)})
    every, some = (
        declared.checks(declared.section(figures("regression", found, slice_margin=0.03, slices=asked)))[0]
        for asked in ("every", "some")
    )
    assert (every["verdict"], some["verdict"]) == (gate.UNDECIDED, gate.PASSED)


def test_several_doubtful_slices_are_no_pass() -> None:
    live = {"detectable": 0.1, "is_worse": False}
    slices = [{"by": "place", "value": "a", "live": live | {"verdict": each}} for each in (gate.PASSED, gate.FAILED)]
    assert declared._some(slices, 0.03)["verdict"] == gate.UNDECIDED
    assert declared._some([*slices, slices[0]], 0.03)["verdict"] == gate.PASSED


@pytest.mark.parametrize("kind", ["binary", "regression"])
@pytest.mark.parametrize("asked", ["some", "every"])
def test_hold_out_of_one_day_or_of_ten_rows_is_undecided(kind: str, asked: str) -> None:
    for found in (predictions(kind, days=1), predictions(kind, rows=10, days=5)):
        decided = decision.decide(found, given(kind, slice_margin=0.05, slices=asked))
        checks = [check for check in decided["checks"] if check["name"] == declared.NAME]
        assert [check["verdict"] for check in checks] in ([gate.UNDECIDED], [])
        assert decided["verdict"] == "held"
        assert b"NaN" not in canonical_json(decided)
        assert all(gate.reason(check) and gate.remedy(check, None) for check in checks)


def test_slice_of_one_label_has_no_headline_and_no_comparison() -> None:
    found = predictions("binary")
    outcomes = np.where(np.array(found.groups["slice.place"].to_list()) == "a", 0, found.outcomes)
    entry = declared.section(figures("binary", replace(found, outcomes=outcomes)))["slices"][0]
    assert ("headline" in entry["figures"], entry["live"]) == (False, None)
    assert {"outcome", "calibration_gap", "calibration_error"} == entry["figures"].keys()


@pytest.mark.parametrize("kind", KINDS)
def test_stored_groups_decide_again_to_the_last_digit(kind: str, tmp_path: Path) -> None:
    found = predictions(kind, worse="c")
    grounds = given(kind, slice_margin=0.02)
    found.write(tmp_path / "predictions.parquet")
    again = Predictions.read(tmp_path / "predictions.parquet")
    first, second = (canonical_json(decision.decide(each, grounds)) for each in (found, again))
    assert first == second
    again.write(tmp_path / "again.parquet")
    assert (tmp_path / "again.parquet").read_bytes() == (tmp_path / "predictions.parquet").read_bytes()


def test_slice_cannot_save_more_than_the_whole_loss() -> None:
    found = predictions("regression", days=20)
    model = np.where(found.clusters == 0, found.scores["live"], found.outcomes)  # perfect on all days but one
    slices = declared.section(figures("regression", replace(found, scores=found.scores | {"model": model})))["slices"]
    for live in (entry["live"] for entry in slices if entry["by"] == "place"):
        assert live["lower_bound"] < live["figure"] < live["upper_bound"] == 1


def test_rows_without_a_day_in_common_are_drawn_in_blocks() -> None:
    found = predictions("binary", days=2000)
    entry = declared.section(figures("binary", found))["slices"][0]
    headline = entry["figures"]["headline"]
    assert entry["clusters"] > 200
    # The standard error of independent rows, after Hanley and McNeil, is 0.018 here.
    assert 0.04 < headline["upper_bound"] - headline["lower_bound"] < 0.08
