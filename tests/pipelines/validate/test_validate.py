from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import nullcontext
from datetime import datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from contract.errors import EXIT_DATA, ConfigurationError, DataRejectedError
from pipelines import paths
from pipelines.params.params import Params
from pipelines.stages.validate import duckdb_views, stage
from tests.pipelines.conftest import deliveries, write_months

SECRET = 7654321.25


def _break_month(change: Callable[[pl.DataFrame], pl.DataFrame]) -> None:
    path = paths.partition("2024-02")
    change(pl.read_parquet(path)).write_parquet(path)


def test_validate_accepts_sound_months_and_says_the_same_twice(workspace: Path, params: Params) -> None:
    write_months(workspace)
    stage.run(params)
    first = paths.VALIDATION.read_bytes()
    report = json.loads(first)
    assert [entry["success"] for entry in report.values()] == [True, True, True]
    assert len(report["2024-01"]["expectations"]) >= 15
    assert (paths.DATA_DOCS / "index.html").is_file()
    stage.run(params)
    assert paths.VALIDATION.read_bytes() == first


@pytest.mark.parametrize(
    ("change", "expectation", "column", "count"),
    [
        (lambda t: t.drop("weight"), "expect_table_columns_to_match_set", None, "order"),
        (lambda t: t.rename({"weight": "mass"}), "expect_table_columns_to_match_set", None, "mass"),
        (lambda t: t.with_columns(extra=pl.lit(1)), "expect_table_columns_to_match_set", None, "extra"),
        (lambda t: t.with_columns(pl.col("distance").cast(pl.String)), "expect_column_values_to_be_in_type_list", "distance", "String"),
        (lambda t: t.with_columns(depot=pl.lit(None, pl.String)), "expect_column_values_to_not_be_null", "depot", "580 of 580"),
        (lambda t: t.with_columns(distance=pl.lit(SECRET)), "expect_column_values_to_be_between", "distance", "580 of 580"),
        (lambda t: t.with_columns(depot=pl.lit("west")), "expect_column_values_to_be_in_set", "depot", "580 of 580"),
        (lambda t: pl.concat([t, t.head(3)]), "unexpected_rows_expectation", None, "no two rows share order; observed 6"),
        (lambda t: t.head(50), "expect_table_row_count_to_be_between", None, "observed 50"),
        (lambda t: t.filter(pl.col("promised") < datetime(2024, 2, 20)), "expect_column_max_to_be_between", "promised", "is complete"),
        (lambda t: deliveries(datetime(2024, 2, 5), 29), "expect_column_values_to_be_between", "promised", "80 of 580"),
        (lambda t: t.with_columns(distance=pl.lit(None, pl.Float64)), "expect_column_values_to_not_be_null", "distance", "580 of 580"),
        (lambda t: t.with_columns(weight=pl.lit(None, pl.Float64)), "expect_column_values_to_not_be_null", "weight", "580 of 580"),
        (lambda t: t.with_columns(weight=pl.lit(3.0)), "expect_column_unique_value_count_to_be_between", "weight", "observed 1"),
        (lambda t: t.with_columns(depot=pl.lit("north")), "expect_column_unique_value_count_to_be_between", "depot", "observed 1"),
        (lambda t: t.with_columns(outcome=pl.lit("broken")), "expect_column_mean_to_be_between", "__positive__", "observed 1.0"),
        (lambda t: t.with_columns(outcome=pl.lit(None, pl.String)), "expect_column_values_to_not_be_null", "outcome", "580 of 580"),
    ],
)  # fmt: skip
def test_validate_names_expectation_column_and_counts_when_a_month_is_bad(
    workspace: Path,
    raw: dict[str, Any],
    change: Callable[[pl.DataFrame], pl.DataFrame],
    expectation: str,
    column: str | None,
    count: str,
) -> None:
    raw["validate"]["positive_rate"] = [0.1, 0.9]
    params = Params.model_validate(raw)
    write_months(workspace)
    _break_month(change)
    with pytest.raises(DataRejectedError) as caught:
        stage.run(params)
    assert caught.value.exit_code == EXIT_DATA
    problems = [
        problem for problem in caught.value.problems if expectation in problem.problem and problem.field == column
    ]
    assert problems, str(caught.value)
    assert "2024-02" in problems[0].problem
    assert count in problems[0].problem
    report = json.loads(paths.VALIDATION.read_bytes())
    assert [report[month]["success"] for month in params.data.months] == [True, False, True]


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (
            {"type": "expect_colum_max_to_be_between", "kwargs": {"column": "weight"}},
            r"validate\.expectations\.0\.type: .* no 'expect_colum_max_to_be_between' \(did you mean expect_column_max_to_be_between\?\)",
        ),
        (
            {"type": "expect_column_max_to_be_between", "kwargs": {"colum": "weight"}},
            r"validate\.expectations\.0\.kwargs do not fit expect_column_max_to_be_between\n.*'column': field required",
        ),
    ],
)
def test_expectation_that_the_library_does_not_know_is_refused(
    workspace: Path, raw: dict[str, Any], entry: dict[str, Any], words: str
) -> None:
    raw["validate"]["expectations"] = [entry]
    write_months(workspace)
    with pytest.raises(ConfigurationError, match=words):
        stage.run(Params.model_validate(raw))


def test_query_that_is_no_sql_is_called_so(workspace: Path, raw: dict[str, Any]) -> None:
    entry = {"type": "unexpected_rows_expectation", "kwargs": {"unexpected_rows_query": "SELEC 1 FROM {batch}"}}
    raw["validate"]["expectations"] = [entry]
    write_months(workspace)
    with pytest.raises(
        DataRejectedError, match="unexpected_rows_expectation; evaluation failed; is its query valid SQL"
    ):
        stage.run(Params.model_validate(raw))


@pytest.mark.parametrize(
    ("freshness", "last_day", "is_accepted"),
    [("4d", 27, True), ("4d", 25, False), (None, 10, True)],
)
def test_freshness_says_how_long_before_the_end_of_a_month_its_rows_may_end(
    workspace: Path, raw: dict[str, Any], freshness: str | None, last_day: int, is_accepted: bool
) -> None:
    raw["validate"] |= {"freshness": freshness, "drift": None}
    write_months(workspace)
    _break_month(lambda table: table.filter(pl.col("promised") < datetime(2024, 2, last_day)))
    expected = nullcontext() if is_accepted else pytest.raises(DataRejectedError, match=r"validate\.freshness")
    with expected:
        stage.run(Params.model_validate(raw))


def test_validate_quotes_no_row_value_anywhere(workspace: Path, params: Params) -> None:
    write_months(workspace)
    _break_month(lambda table: table.with_columns(distance=pl.lit(SECRET), depot=pl.lit("canary-in-the-depot")))
    with pytest.raises(DataRejectedError) as caught:
        stage.run(params)
    pages = [path.read_text() for path in paths.DATA_DOCS.rglob("*.html")]
    assert len(pages) > 3
    for text in (str(caught.value), paths.VALIDATION.read_text(), *pages):
        assert "canary-in-the-depot" not in text
        assert "7654321" not in text


def test_validate_rejects_a_file_that_is_cut(workspace: Path, params: Params) -> None:
    write_months(workspace)
    path = paths.partition("2024-02")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DataRejectedError, match=r"2024-02\.parquet cannot be read"):
        stage.run(params)


def test_a_column_that_is_constant_in_every_month_is_no_alarm(workspace: Path, params: Params) -> None:
    write_months(workspace)
    for month in params.data.months:
        path = paths.partition(month)
        pl.read_parquet(path).with_columns(depot=pl.lit("north")).write_parquet(path)
    assert "expectations hold on 3 months" in stage.run(params)


@pytest.mark.parametrize("may_be_constant", [False, True])
def test_column_that_is_constant_in_one_month_stops_the_run_unless_it_may_be(
    workspace: Path, raw: dict[str, Any], may_be_constant: bool
) -> None:
    raw["data"]["columns"]["depot"]["may_be_constant"] = may_be_constant
    write_months(workspace)
    _break_month(lambda table: table.with_columns(depot=pl.lit("north")))
    expected = nullcontext() if may_be_constant else pytest.raises(DataRejectedError, match="unique_value_count")
    with expected:
        stage.run(Params.model_validate(raw))


def test_columns_may_be_named_like_keywords_of_sql() -> None:
    from duckdb_engine import Dialect, DuckDBIdentifierPreparer

    duckdb_views.teach_duckdb()
    quote = DuckDBIdentifierPreparer(Dialect()).quote
    assert [quote(name) for name in ("at", "order", "distance")] == ['"at"', '"order"', "distance"]
