"""Weak slices: found on one half of the days, and confirmed on the other only where they are real."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from contract.files import canonical_json
from pipelines.stages.evaluate.slices import weak
from tests.pipelines.evaluate.slices.made import KINDS, enumerated, figures, predictions


@pytest.mark.parametrize("kind", KINDS)
def test_weak_slice_is_found_and_confirmed(kind: str) -> None:
    found = weak.section(figures(kind, predictions(kind, worse="c")))
    assert found is not None
    first = found["found"][0]
    assert first["value"].startswith("place c")
    assert first["verdict"] == weak.WEAK
    assert first["loss"]["lower_bound"] > first["elsewhere"]["upper_bound"]
    assert first["difference"]["figure"] == pytest.approx(first["loss"]["figure"] - first["elsewhere"]["figure"])
    assert found["searched"]["clusters"] + found["tested"]["clusters"] == 40
    assert found == weak.section(figures(kind, predictions(kind, worse="c")))


def test_weak_slice_of_two_columns_is_found() -> None:
    made = predictions("regression", rows=4000)
    size, place = (np.array(made.groups[f"searched.{name}"].to_list()) for name in ("size", "place"))
    is_weak = (size == "small") & (place == "b")
    model = np.where(is_weak, made.scores["model"] + 4, made.scores["model"])
    found = weak.section(figures("regression", replace(made, scores=made.scores | {"model": model})))
    assert found is not None
    assert found["found"][0]["value"] == "place b and size small"
    assert [entry["verdict"] for entry in found["found"]].count(weak.WEAK) >= 1
    assert found["tried"] == 4 + 1 + 4 * 2  # one of the two sizes has more than half of the rows


def test_chance_is_not_confirmed() -> None:
    confirmed = 0
    for seed in range(20):
        found = weak.section(figures("regression", predictions("regression", seed=seed, rows=1500)))
        confirmed += any(entry["verdict"] == weak.WEAK for entry in (found or {"found": []})["found"])
    assert confirmed <= 4  # 5 % each; five of twenty or more have a chance of 0.3 %


def test_search_ranks_by_standard_errors_and_leaves_out_what_is_too_large() -> None:
    losses = np.array([1.0, 1, 1, 1, 3, 3, 1, 1] * 100)
    column = np.array([0, 0, 0, 0, 0, 1, 1, 2] * 100)
    (first, *others), tried = weak.search(losses, [column], np.arange(800), most=5, fewest=30, few=2)
    assert first.score == pytest.approx((2 - 1.5) / (np.std(losses) / np.sqrt(200)))
    assert (first.codes, others, tried) == ((1,), [], 2)


def test_slice_of_too_few_days_is_not_found() -> None:
    losses, column = np.array([1.0, 5.0, 1.0, 1.0] * 100), np.array([0, 1, 2, 3] * 100)
    days = np.where(column == 1, 0, np.arange(400) % 20)
    assert weak.search(losses, [column], days, most=5, fewest=30, few=2)[0] == []


def test_nothing_is_found_on_few_days() -> None:
    for days in (1, 6):
        found = weak.section(figures("binary", predictions("binary", worse="c", days=days)))
        assert found is not None
        assert found["found"] == []
        assert b"NaN" not in canonical_json(found)


def test_nothing_is_searched_without_candidates_or_when_told_so() -> None:
    made = predictions("binary")
    assert weak.section(figures("binary", made, {"weak_slices": 0})) is None
    assert weak.section(figures("binary", replace(made, groups={"slice.place": made.groups["slice.place"]}))) is None


def test_perfect_model_has_no_weak_slice() -> None:
    made = predictions("regression")
    perfect = replace(made, scores=made.scores | {"model": made.outcomes})
    found = weak.section(figures("regression", perfect))
    assert found is not None
    assert (found["found"], found["tried"]) == ([], 0)


def test_column_of_one_value_for_each_row_is_no_slice() -> None:
    made = predictions("regression", rows=1000)
    unique = replace(made, groups={"searched.name": enumerated(np.arange(1000))})
    found = weak.section(figures("regression", unique))
    assert found is not None
    assert found["tried"] == 0
