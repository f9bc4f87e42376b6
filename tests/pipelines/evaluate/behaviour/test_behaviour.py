"""Expectations of how the score moves: tried on changed rows, judged by clusters, refused where they cannot be tried."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from contract.files import canonical_json
from contract.schema.schema import Feature, FeatureSchema, Field, Target
from pipelines.params.judging.behaviour import Behaviour
from pipelines.params.params import Evaluate, Gates, Params, TargetParams
from pipelines.stages.evaluate.behaviour import trials
from pipelines.stages.evaluate.gates import decision, gate
from pipelines.stages.evaluate.gates.figures import Given
from pipelines.stages.evaluate.gates.predictions import Predictions
from tests.pipelines.conftest import RAW

SCHEMA = FeatureSchema(
    name="wind",
    task="binary",
    target=Target("late", ("no", "yes"), threshold=0.5),
    fields=(
        Field("wind", "number", required=False, minimum=0, maximum=50),
        Field("carrier", "category"),
        Field("tail", "category", pii=True),
    ),
    features=(
        Feature("wind", "value", ("wind",), {}),
        Feature("carrier", "category", ("carrier",), {"categories": ["A", "B", "C"]}),
    ),
)
COLUMNS = {"wind": [0.0, 10.0, 45.0, None, 20.0], "carrier": ["A", "B", "C", "A", None], "tail": list("vwxyz")}


class _Predictor:
    """A model that falls with wind from 15 on, and takes carrier C for riskier by .2."""

    schema = SCHEMA

    def score_table(self, columns: dict[str, list[Any]]) -> np.ndarray[Any, Any]:
        wind = np.array([value or 0.0 for value in columns["wind"]])
        by_wind = np.where(wind < 15, 0.01 * wind, 0.15 - 0.005 * (wind - 15))
        return (0.3 + by_wind + 0.2 * (np.array(columns["carrier"]) == "C")).astype(np.float32)


def _tried(**entry: Any) -> trials.Trial:
    predictor: Any = _Predictor()
    scores = predictor.score_table(COLUMNS).astype(np.float64)
    return trials.tried(Behaviour.model_validate(entry), predictor, COLUMNS, scores)


def test_number_is_added_to_within_its_bounds_and_the_worst_row_shows_no_personal_data() -> None:
    found = _tried(column="wind", by=10, direction="never_lower", tolerance=0.02)
    # 45 + 10 is above the maximum, and a missing number has no greater one.
    assert found.changes == pytest.approx([0.1, 0.025, np.nan, np.nan, -0.05], abs=1e-6, nan_ok=True)
    assert found.violations == 1
    assert found.worst is not None
    assert found.worst["row"] == {"wind": 20.0, "carrier": None}
    assert found.worst["changed_to"] == 30.0
    assert found.worst["after"] - found.worst["before"] == pytest.approx(-0.05, abs=1e-6)
    assert _tried(column="wind", by=10, direction="never_lower", tolerance=0.06).violations == 0
    assert _tried(column="wind", by=10, direction="never_higher", tolerance=0.06).violations == 1


def test_every_known_value_is_tried_and_the_farthest_change_counts() -> None:
    found = _tried(column="carrier", values="all", moves_at_most=0.1)
    assert found.changes == pytest.approx([0.2, 0.2, -0.2, 0.2, np.nan], abs=1e-6, nan_ok=True)
    assert found.violations == 4
    assert _tried(column="carrier", values=["A", "B"], moves_at_most=0.1).violations == 1


def test_sample_has_rows_of_the_whole_hold_out_and_no_more_than_it_can_score() -> None:
    entry = Behaviour(column="carrier", values="all", moves_at_most=0.1)
    rows = trials.sample(1_000_000, entry, SCHEMA)
    assert len(rows) * 3 <= trials._SCORED < len(rows) * 3 + 3
    assert (rows[0], rows[-1] > 999_000, len(np.unique(rows))) == (0, True, len(rows))
    assert trials.sample(4, entry, SCHEMA).tolist() == [0, 1, 2, 3]


def _decided(changes: np.ndarray[Any, Any], tmp_path: Path, **entry: Any) -> dict[str, Any]:
    random = np.random.default_rng(3)
    rows = len(changes)
    scores = random.random(rows)
    outcomes = (random.random(rows) < scores).astype(np.int8)
    named = {"model": scores, "linear": scores / 2, "prior": np.full(rows, 0.5)}
    found = Predictions(outcomes, np.arange(rows) * 30 // rows, named, None, (changes,))
    expected = {"column": "wind", "by": 10, "direction": "never_lower", "tolerance": 0.02, **entry}
    evaluate = Evaluate.model_validate({"bootstrap": 300, "behaviour": [expected]})
    target = TargetParams.model_validate({"column": "late", "task": "binary", "labels": ["no", "yes"]})
    given = Given(target, evaluate, Gates(), 7, "days")
    first = decision.decide(found, given)
    assert b"NaN" not in canonical_json(first)
    found.write(tmp_path / "p.parquet")
    again = decision.decide(Predictions.read(tmp_path / "p.parquet"), Given.from_json(given.to_json()))
    assert canonical_json(again) == canonical_json(first)
    return first


@pytest.mark.parametrize(
    ("share", "rows", "verdict"),
    [(0.02, 600, "passed"), (0.2, 600, "failed"), (0.05, 600, "undecided"), (0.0, 40, "undecided")],
)
def test_share_of_violations_is_judged_by_its_bounds(share: float, rows: int, verdict: str, tmp_path: Path) -> None:
    changes = np.full(rows, 0.01)
    changes[: int(share * rows)] = -0.1
    changes = np.random.default_rng(1).permutation(changes)
    found = _decided(changes, tmp_path, allowed=0.05)
    (entry,) = found["behaviour"]
    assert (entry["verdict"], entry["rows"], entry["violations"]) == (verdict, rows, int(share * rows))
    assert entry["lower_bound"] <= entry["figure"] <= entry["upper_bound"]
    check = found["checks"][-1]
    assert (check["name"], check["verdict"]) == (f"behaviour: {entry['name']}", verdict)
    assert "share of rows that violate it" in gate.reason(check)


def test_expectation_that_no_row_could_try_is_undecided_and_one_without_a_share_is_reported(tmp_path: Path) -> None:
    untried = np.full(600, np.nan)
    found = _decided(untried, tmp_path, allowed=0.05)
    assert found["checks"][-1]["verdict"] == "undecided"
    assert "no row of the hold-out could be tried" in gate.reason(found["checks"][-1])
    assert gate.remedy(found["checks"][-1], None)
    reported = _decided(np.full(600, -1.0), tmp_path)
    assert (reported["behaviour"][0]["verdict"], reported["behaviour"][0]["figure"]) == ("reported", 1.0)
    assert not [check for check in reported["checks"] if check["name"].startswith("behaviour")]


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"column": "wind"}, "evaluate.behaviour[0].column names 'wind', which is neither in data.columns"),
        ({"column": "depot"}, "of kind category: `by` changes numbers"),
        ({"by": None, "values": ["x"], "direction": None, "moves_at_most": 1}, "of kind number: `by` changes numbers"),
        ({"by": 0}, "by: 0 changes nothing"),
        ({"values": "all"}, "needs either `by`"),
        ({"moves_at_most": 0.1}, "needs either `direction` or `moves_at_most`"),
        ({"tolerance": -0.1}, "tolerance"),
    ],
)
def test_expectation_that_cannot_be_tried_is_refused_by_key_and_column(entry: dict[str, Any], said: str) -> None:
    expected = {"column": "distance", "by": 1, "direction": "never_lower"} | entry
    raw = RAW | {"evaluate": {**RAW.get("evaluate", {}), "behaviour": [expected]}}
    with pytest.raises(ValidationError) as caught:
        Params.model_validate(raw)
    assert said in str(caught.value)


def test_expectation_twice_is_refused() -> None:
    entry = {"column": "distance", "by": 1, "direction": "never_lower"}
    with pytest.raises(ValidationError, match=r"behaviour\[1\] is there twice"):
        Params.model_validate(RAW | {"evaluate": {"behaviour": [entry, entry]}})


def test_expectation_is_read_back_from_the_evidence_of_a_bundle() -> None:
    for entry in (
        {"column": "carrier", "values": "all", "moves_at_most": 0.1},
        {"column": "carrier", "values": ["A"], "moves_at_most": 0},
        {"column": "wind", "by": 1, "direction": "never_higher"},
    ):
        found = Behaviour.model_validate(entry)
        assert Behaviour.model_validate(found.model_dump(mode="json")) == found
