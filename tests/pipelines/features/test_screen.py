"""What would flatter a model is stopped before training, with the evidence."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from contract.errors import EXIT_DATA, DataRejectedError
from pipelines import paths
from pipelines.columns import identifiers
from pipelines.params.params import Params
from pipelines.stages.features import stage as features
from pipelines.stages.screen import leaks, stage
from tests.pipelines.conftest import write_months

RANDOM = np.random.default_rng(7)


def _change(change: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
    for path in sorted(paths.ACCEPTED.glob("*.parquet")):
        change(pl.read_parquet(path)).write_parquet(path)


def _refusal(params: Params) -> DataRejectedError:
    features.run(params)
    with pytest.raises(DataRejectedError) as caught:
        stage.run(params)
    assert caught.value.exit_code == EXIT_DATA
    assert paths.SCREENING.is_file()
    return caught.value


def _noisy_label(sigma: float) -> Callable[[pl.DataFrame], pl.DataFrame]:
    def change(table: pl.DataFrame) -> pl.DataFrame:
        noise = RANDOM.normal(0, sigma, table.height)
        return table.with_columns(weight=(pl.col("outcome") == "broken").cast(pl.Float64).fill_null(0) + noise + 5)

    return change


def test_a_sound_table_passes_and_says_the_same_twice(workspace: Path, params: Params) -> None:
    write_months(workspace, learnable=False)
    features.run(params)
    assert "no row or entity on both sides" in stage.run(params)
    first = paths.SCREENING.read_bytes()
    stage.run(params)
    assert paths.SCREENING.read_bytes() == first
    assert set(json.loads(first)["features"]) == set(params.features)


def test_a_feature_that_is_the_label_plus_noise_is_blocked_until_it_is_reviewed(
    workspace: Path, raw: dict[str, Any]
) -> None:
    write_months(workspace, learnable=False)
    _change(_noisy_label(0.4))
    raw["gates"]["feature_auc"] = 0.8
    error = _refusal(Params.model_validate(raw))
    assert {problem.field for problem in error.problems} == {"weight"}
    assert "predicts the outcome alone with ROC-AUC 0." in str(error)
    raw["gates"]["reviewed"] = ["weight"]
    stage.run(Params.model_validate(raw))


def test_suspected_leak_is_said_until_it_is_reviewed(workspace: Path, raw: dict[str, Any]) -> None:
    write_months(workspace, learnable=False)
    _change(_noisy_label(0.8))
    del raw["features"]["per_kg"]
    features.run(Params.model_validate(raw))
    said = stage.run(Params.model_validate(raw))
    assert "suspected leak: weight, alone it has ROC-AUC 0." in said
    assert "gates.reviewed" in said
    measured = paths.SCREENING.read_bytes()
    raw["gates"]["reviewed"] = ["weight"]
    assert "suspected" not in stage.run(Params.model_validate(raw))
    assert paths.SCREENING.read_bytes() == measured


def test_the_target_in_disguise_is_blocked_even_if_it_is_reviewed(workspace: Path, raw: dict[str, Any]) -> None:
    write_months(workspace, learnable=False)
    _change(
        lambda table: table.with_columns(
            depot=pl.when(pl.col("outcome") == "broken").then(pl.lit("x")).otherwise(pl.lit("y"))
        )
    )
    raw["gates"]["reviewed"] = ["depot", "depot_share"]
    error = _refusal(Params.model_validate(raw))
    assert "depot" in {problem.field for problem in error.problems}
    assert "is the target in disguise" in str(error)


def test_rows_that_are_there_twice_are_blocked_within_and_across_months(workspace: Path, params: Params) -> None:
    write_months(workspace, learnable=False)
    _change(lambda table: table.with_columns(order=pl.format("order-{}", pl.int_range(pl.len()))))
    error = _refusal(params)
    assert [problem.field for problem in error.problems] == ["order"]
    assert "rows share this key (data.key) with another one, in 2024-01, 2024-02, 2024-03" in str(error)


def test_an_entity_on_both_sides_of_the_split_is_blocked(workspace: Path, raw: dict[str, Any]) -> None:
    write_months(workspace, learnable=False)
    raw["gates"]["entity"] = "depot"
    error = _refusal(Params.model_validate(raw))
    assert "620 of 620 hold-out rows have one of 2 values" in str(error)


def test_an_entity_that_a_grouped_split_keeps_apart_passes(workspace: Path, raw: dict[str, Any]) -> None:
    write_months(workspace, learnable=False)
    _change(lambda table: table.with_columns(courier=pl.col("order").str.slice(-2)))
    raw["data"]["columns"]["courier"] = {"kind": "identifier"}
    raw["split"] = {"kind": "grouped", "column": "courier"}
    params = Params.model_validate(raw)
    features.run(params)
    stage.run(params)
    assert json.loads(paths.SCREENING.read_bytes())["shared"]["rows"] == 0


def _patients(table: pl.DataFrame) -> pl.DataFrame:
    """A wide number, nowhere near another one, that comes back in other rows: of a patient, say."""
    numbers = np.random.default_rng(3).integers(10**8, 10**12, 2_000)
    month = table["promised"].dt.month()[0]
    return table.with_columns(weight=pl.Series(np.random.default_rng(month).choice(numbers, table.height) * 1.0))


def test_number_that_names_its_row_is_blocked_until_it_is_reviewed(workspace: Path, raw: dict[str, Any]) -> None:
    write_months(workspace, learnable=False)
    _change(_patients)
    error = _refusal(Params.model_validate(raw))
    assert {problem.field for problem in error.problems} == {"weight", "per_kg"}
    assert "is made of 'weight', which looks like an identifier (" in str(error)
    raw["gates"]["reviewed"] = ["weight", "per_kg"]
    stage.run(Params.model_validate(raw))


_MEASURES = {
    "a sum of money": np.round(RANDOM.gamma(2, 4_000, 30_000)),
    "a price as people round it": np.round(RANDOM.gamma(2, 300_000, 30_000) / 50) * 50,
    "a price in cents": np.round(RANDOM.gamma(1, 30, 30_000), 2),
    "a count": RANDOM.poisson(30, 30_000).astype(float),
    "a wide measure": RANDOM.integers(0, 10**12, 30_000).astype(float),
    "seconds since 1970": 1.7e9 + np.sort(RANDOM.integers(0, 10**7, 30_000)),
    "few odd amounts": RANDOM.choice(RANDOM.integers(0, 10**6, 150), 30_000).astype(float),
    "a score": RANDOM.normal(size=30_000),
}


def _measured(*areas: float) -> dict[str, dict[str, float]]:
    return {f"f{index}": {"auc": area, "error_reduction": 0.0} for index, area in enumerate(areas)}


@pytest.mark.parametrize(
    ("areas", "expected"),
    [
        ((0.806, 0.651, 0.64, 0.6, 0.58, 0.55), {"f0"}),  # a call's duration, and what is known before the call
        ((0.89, 0.64, 0.6, 0.6), {"f0"}),  # the delay at departure
        ((0.55, 0.9, 0.88, 0.6, 0.6, 0.58, 0.57, 0.56), {"f1", "f2"}),  # two that tell the same
        ((0.768, 0.714, 0.68, 0.63), set()),
        ((0.78, 0.77, 0.73, 0.72), set()),
        ((0.6, 0.51, 0.5, 0.5), set()),  # weak
        ((0.9,), set()),  # alone
    ],
)
def test_feature_that_stands_apart_is_an_outlier(areas: tuple[float, ...], expected: set[str]) -> None:
    found = leaks.outliers(_measured(*areas), "binary")
    assert set(found) == expected
    assert all("far more than other features (the next one is f" in told for told in found.values())


def test_regression_is_judged_by_the_variance_it_explains_and_not_by_ranks(
    workspace: Path, raw: dict[str, Any]
) -> None:
    write_months(workspace, learnable=False)
    draw = np.random.default_rng(5)

    def change(table: pl.DataFrame) -> pl.DataFrame:
        weight = draw.gamma(2, 1, table.height)
        price = np.exp(2 * weight) * draw.uniform(0.95, 1.05, table.height)  # ranks alike, and is a hard number to hit
        return table.with_columns(weight=pl.Series(weight), outcome=pl.Series(price))

    _change(change)
    raw["target"] = {"column": "outcome", "task": "regression"}
    raw["validate"] = {"rows": [100, 5000]}
    params = Params.model_validate(raw)
    features.run(params)
    assert "of the variance" in stage.run(params)
    measured = json.loads(paths.SCREENING.read_bytes())["features"]["weight"]
    assert measured["auc"] > 0.99
    assert leaks.strength(measured, "regression") < 0.98


@pytest.mark.parametrize("name", _MEASURES)
def test_measure_is_no_identifier(name: str) -> None:
    assert identifiers.reason("amount", _MEASURES[name]) is None


_NAMES = {
    "id": ("PatientId", RANDOM.choice(RANDOM.integers(0, 10**14, 5_000) + 0.5, 9_000)),
    "of an entity that comes back": ("subject", RANDOM.choice(RANDOM.integers(0, 10**14, 5_000), 9_000).astype(float)),
    "of a row": ("row", RANDOM.permutation(9_000) + 17.0),
}


@pytest.mark.parametrize("name", _NAMES)
def test_number_that_is_a_name_is_an_identifier_with_gaps_or_without(name: str) -> None:
    column, values = _NAMES[name]
    assert identifiers.reason(column, values)
    assert identifiers.reason(column, np.where(np.arange(len(values)) % 7 == 0, np.nan, values)) or name == "of a row"


@pytest.mark.parametrize("sigma", [0.3, 1.0, 5.0])
def test_auc_alone_is_that_of_the_best_ranking_by_the_value(sigma: float) -> None:
    from sklearn.metrics import roc_auc_score

    labels = RANDOM.integers(0, 2, 20_000)
    values = (labels + RANDOM.normal(0, sigma, len(labels))).astype(np.float32)
    expected = roc_auc_score(labels, values)
    assert leaks.measure(values, labels, "binary")["auc"] == pytest.approx(expected, abs=0.02)
    assert leaks.measure(-values, labels, "binary")["auc"] == pytest.approx(expected, abs=0.02)


def test_missing_values_that_give_the_label_away_are_seen() -> None:
    labels = RANDOM.integers(0, 2, 2_000)
    values = np.where(labels == 1, np.nan, RANDOM.normal(size=len(labels))).astype(np.float32)
    found = leaks.measure(values, labels, "binary")
    assert found["auc"] == pytest.approx(1)
    assert found["error_reduction"] == pytest.approx(1)


def test_a_value_that_only_one_row_has_tells_nothing() -> None:
    labels = RANDOM.integers(0, 2, 2_000)
    found = leaks.measure(np.arange(2_000, dtype=np.float32), labels, "binary")
    assert found["auc"] == pytest.approx(0.5, abs=0.06)


def test_a_number_that_follows_another_is_seen() -> None:
    from sklearn.metrics import r2_score

    values = RANDOM.normal(size=20_000).astype(np.float32)
    outcomes = values * 3.0 + 1
    found = leaks.measure(values, outcomes, "regression")
    assert found["auc"] > 0.99
    assert found["error_reduction"] > 0.98
    noisy = outcomes + RANDOM.normal(0, 3, len(values))
    expected = r2_score(noisy, outcomes)
    assert leaks.measure(values, noisy, "regression")["error_reduction"] == pytest.approx(expected, abs=0.03)


def test_one_label_of_three_that_is_told_by_a_value_is_no_alarm() -> None:
    labels = RANDOM.integers(0, 3, 6_000)
    values = (labels == 0).astype(np.float32)
    assert leaks.measure(values, labels, "multiclass")["auc"] == pytest.approx((1 + 0.75 + 0.75) / 3, abs=0.03)
