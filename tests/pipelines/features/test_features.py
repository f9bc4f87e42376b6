from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from contract.errors import ConfigurationError, DataRejectedError
from contract.schema.schema import FeatureSchema
from pipelines import paths
from pipelines.data import training
from pipelines.data.training import Rows
from pipelines.params.features.transforms import CategoryFeature, LookupFeature
from pipelines.params.params import Params
from pipelines.stages.features import fit, stage
from tests.pipelines.conftest import write_months


def test_categories_are_sorted_and_rare_ones_left_out() -> None:
    column = pl.Series("depot", ["b", "a", "b", None, "c", "a", "b"])
    feature = CategoryFeature(transform="category", minimum_count=2)
    assert fit.categories(column, feature, "depot") == ["a", "b"]


def test_categories_are_refused_when_there_are_too_many() -> None:
    column = pl.Series("depot", [f"depot {index // 2}" for index in range(22)])
    feature = CategoryFeature(transform="category", minimum_count=2, maximum_categories=10)
    with pytest.raises(
        ConfigurationError, match=r"features\.depot: 11 categories, more than maximum_categories \(10\)"
    ):
        fit.categories(column, feature, "depot")


def _fit(raw: dict[str, Any], table: pl.DataFrame) -> FeatureSchema:
    params = Params.model_validate(raw)
    return fit.fit_schema(params.name, params.data, params.target, params.features, table)


@pytest.mark.parametrize("minimum_count", [1, 10])
@pytest.mark.parametrize("transform", ["category", "lookup"])
def test_column_is_refused_as_a_feature_when_it_identifies(
    raw: dict[str, Any], transform: str, minimum_count: int
) -> None:
    of_lookup = {"statistic": "share"} if transform == "lookup" else {}
    raw["features"] = {"who": {"transform": transform, "input": "depot", "minimum_count": minimum_count} | of_lookup}
    del raw["data"]["columns"]["depot"]["values"]
    table = pl.DataFrame({"depot": [f"customer {index}" for index in range(51)] + ["north"] * 50 + [None] * 900})
    with pytest.raises(ConfigurationError) as caught:
        _fit(raw, table)
    said = str(caught.value)
    for words in (
        "features.who",
        "'depot'",
        "52 different values in 101 training rows",
        "51%",
        "above 50%",
        "kind: identifier",
    ):
        assert words in said
    assert "customer" not in said
    one_more = pl.concat([table, pl.DataFrame({"depot": ["north"] * 20})])
    options = _fit(raw, one_more).features[0].options
    assert ("customer 1" in str(options)) == (minimum_count == 1)


def test_feature_is_refused_when_every_value_is_rare() -> None:
    column = pl.Series("customer", [f"customer {index // 9}" for index in range(900)])
    said = r"features\.who: none of the 100 values of 'customer' has minimum_count \(10\) training rows; drop"
    with pytest.raises(ConfigurationError, match=said):
        fit.categories(column, CategoryFeature(transform="category"), "who")
    with pytest.raises(ConfigurationError, match=said):
        fit.lookup_table(
            column.to_frame(), LookupFeature(transform="lookup", input="customer", statistic="share"), "who"
        )


def test_lookup_table_holds_shares_or_means_by_key() -> None:
    table = pl.DataFrame({"depot": ["a", "a", "b", "b", None], "distance": [1.0, 3.0, 2.0, None, 9.0]})
    share = LookupFeature(transform="lookup", input="depot", statistic="share", minimum_count=2)
    mean = LookupFeature(transform="lookup", input="depot", statistic="mean", of="distance", minimum_count=1)
    assert fit.lookup_table(table, share, "x") == {"a": 0.4, "b": 0.4}
    assert fit.lookup_table(pl.concat([table] * 2), mean, "x") == {"a": 2.0, "b": 2.0}


def test_lookup_table_leaves_out_a_mean_of_few_numbers() -> None:
    table = pl.DataFrame({"depot": ["a"] * 30 + ["b"] * 30, "distance": [1.0] * 30 + [7.25] * 9 + [None] * 21})
    mean = LookupFeature(transform="lookup", input="depot", statistic="mean", of="distance")
    assert fit.lookup_table(table, mean, "x") == {"a": 1.0}


def test_features_encode_each_row_as_declared(workspace: Path, params: Params) -> None:
    write_months(workspace)
    stage.run(params)
    encoded = pl.read_parquet(paths.TRAINING_ROWS / "*.parquet")
    months = [pl.read_parquet(paths.accepted(month)) for month in ("2024-01", "2024-02")]
    rows = pl.concat(months).drop_nulls("outcome")
    assert encoded.height == rows.height
    assert encoded["hour"].to_list() == [float(at.hour) for at in rows["promised"]]
    assert encoded["depot"].to_list() == [0.0 if depot == "north" else 1.0 for depot in rows["depot"]]
    assert encoded[training.LABEL].to_list() == [1 if outcome == "broken" else 0 for outcome in rows["outcome"]]
    weight = rows["weight"][1]
    assert encoded["weight"][1] == pytest.approx(math.log(1 + weight), rel=1e-6)
    assert math.isnan(encoded["weight"][rows["weight"].is_null().arg_max()])


def test_features_learn_nothing_from_the_holdout(workspace: Path, params: Params) -> None:
    write_months(workspace)
    stage.run(params)
    before = _learned()
    path = paths.accepted("2024-03")
    changed = pl.read_parquet(path).with_columns(
        depot=pl.lit("south"), distance=pl.lit(99.0), outcome=pl.lit("broken"), weight=pl.lit(1000.0)
    )
    changed.write_parquet(path)
    stage.run(params)
    assert _learned() == before


def _learned() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (paths.FEATURES / "schema.json", *Rows(paths.TRAINING_ROWS).files)}


def test_features_write_a_file_for_each_listed_partition_with_rows(workspace: Path, params: Params) -> None:
    write_months(workspace)
    stale = paths.TRAINING_ROWS / "2023-12.parquet"
    stale.parent.mkdir(parents=True)
    stale.write_bytes(b"of a month that was listed before")
    stage.run(params)
    assert [path.name for path in Rows(paths.TRAINING_ROWS).files] == ["2024-01.parquet", "2024-02.parquet"]


def test_features_count_rows_without_a_label(workspace: Path, params: Params) -> None:
    write_months(workspace)
    stage.run(params)
    counts = json.loads((paths.FEATURES / "counts.json").read_bytes())
    assert counts["2024-02"] == {"rows": 580, "unlabelled": 12}


def test_features_carry_only_fields_that_a_feature_reads(workspace: Path, params: Params) -> None:
    write_months(workspace)
    stage.run(params)
    schema = FeatureSchema.from_bytes((paths.FEATURES / "schema.json").read_bytes())
    assert [field.name for field in schema.fields] == ["promised", "depot", "distance", "weight"]
    assert "order-" not in (paths.FEATURES / "schema.json").read_text()


def test_features_stop_when_no_row_has_a_label(workspace: Path, params: Params) -> None:
    write_months(workspace)
    for month in ("2024-01", "2024-02"):
        path = paths.accepted(month)
        pl.read_parquet(path).with_columns(outcome=pl.lit(None, pl.String)).write_parquet(path)
    with pytest.raises(DataRejectedError, match="no row of the training part has a value in 'outcome'"):
        stage.run(params)
