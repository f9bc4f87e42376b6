"""Which rows a model has learned from, told by a rule that holds none of them."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import numpy as np
import polars as pl
import pytest

from pipelines.data import learned, splits
from pipelines.data.learned import UnknownRowsError
from pipelines.params.params import Params
from tests.pipelines.conftest import deliveries
from tests.pipelines.features.test_splits import CHANCE, KINDS, TABLE, assigned

KEYLESS = {"kind": "stratified", "holdout": 0.3, "validation": 0.1}
MORE = deliveries(datetime(2024, 4, 1), 30).with_columns(depot=pl.col("promised").dt.hour().cast(pl.String))


def _params(raw: dict[str, Any], split: dict[str, Any], **data: Any) -> Params:
    keyless = {"key": []} if "first" in split or split is KEYLESS else {}
    return Params.model_validate(raw | {"split": split, "data": raw["data"] | keyless | data})


def _apply(rule: Any, table: pl.DataFrame, params: Params) -> learned.Rows:
    return learned.apply(rule, table, params.data.columns, params.target)


def _rule(params: Params, table: pl.DataFrame = TABLE) -> Any:
    """As the manifest of the live model gives it back."""
    parts = assigned(table, params)
    return json.loads(json.dumps(learned.rule(table, parts, params.split, params.data, params.target, params.features)))


@pytest.mark.parametrize("split", [*KINDS, KEYLESS], ids=str)
def test_rule_tells_the_rows_that_were_learned_from(raw: dict[str, Any], split: dict[str, Any]) -> None:
    params = _params(raw, split)
    parts = assigned(TABLE, params)
    found = _apply(_rule(params), TABLE, params)
    was = parts.is_in([splits.TRAINING, splits.VALIDATION]).to_numpy()
    assert not (was & ~found).any()
    assert not found[(parts == splits.HOLDOUT).to_numpy()].any()


@pytest.mark.parametrize("split", [*CHANCE, KEYLESS], ids=str)
def test_rule_never_calls_a_learned_row_unseen_when_the_table_has_grown_and_is_split_anew(
    raw: dict[str, Any], split: dict[str, Any]
) -> None:
    params = _params(raw, split)
    grown = pl.concat([TABLE, MORE])
    held = (assigned(grown, params) == splits.HOLDOUT).to_numpy()
    unseen = ~_apply(_rule(params), grown, params)
    was = assigned(TABLE, params).is_in([splits.TRAINING, splits.VALIDATION]).to_numpy()
    assert not (unseen[: TABLE.height] & was).any()
    assert 0.8 < unseen[held].mean() <= 1


@pytest.mark.parametrize("split", [*CHANCE, KEYLESS], ids=str)
def test_rule_holds_no_hash_of_a_row(raw: dict[str, Any], split: dict[str, Any]) -> None:
    params = _params(raw, split)
    rule = _rule(params)
    assert json.dumps(rule).count("order-") == 0
    seed = rule.get("seed", 0)
    hashes = set(splits.draws(TABLE, splits.identity(params.data.key, params.features), seed).tolist())
    hashes |= set(splits.hashes(TABLE["depot"], seed).tolist())
    bounds = rule.get("bound", {})
    assert not hashes & set(bounds.values() if isinstance(bounds, dict) else [bounds])


def test_rule_counts_equal_rows_as_learned_when_they_are_on_both_sides(raw: dict[str, Any]) -> None:
    params = _params(raw, KEYLESS)
    table = TABLE.with_columns(pl.lit(5.0).alias(name) for name in ("distance", "weight")).with_columns(
        pl.lit(datetime(2024, 1, 1)).alias("promised"), pl.lit("1").alias("depot")
    )
    assert set(assigned(table, params)) == {splits.TRAINING, splits.VALIDATION, splits.HOLDOUT}
    assert _apply(_rule(params, table), table, params)[table["outcome"].is_not_null().to_numpy()].all()


@pytest.mark.parametrize("found", [None, {}, {"until": "2024-01-01"}])
def test_rows_are_unknown_when_the_manifest_says_nothing(raw: dict[str, Any], found: Any) -> None:
    with pytest.raises(UnknownRowsError, match="does not say which rows"):
        _apply(found, TABLE, Params.model_validate(raw))


def test_rows_are_unknown_when_a_column_of_the_split_is_gone_or_another(raw: dict[str, Any]) -> None:
    rule = _rule(_params(raw, CHANCE[0]))
    columns = dict(raw["data"]["columns"])
    for changed in ({**columns, "order": {"kind": "category"}}, {k: v for k, v in columns.items() if k != "order"}):
        params = _params(raw, CHANCE[0], columns=changed, key=["promised"])
        with pytest.raises(UnknownRowsError, match="split by 'order', of kind identifier"):
            _apply(rule, TABLE, params)


def test_rows_are_unknown_when_they_were_split_by_an_order_that_is_another(raw: dict[str, Any]) -> None:
    params = _params(raw, {"kind": "predefined", "first": 1000})
    rule = _rule(params)
    assert _apply(rule, pl.concat([TABLE, MORE]), params).sum() == 1000
    with pytest.raises(UnknownRowsError, match="another one now"):
        _apply(rule, TABLE.sample(fraction=1.0, shuffle=True, seed=3), params)


def test_a_new_seed_or_key_leaves_a_rule_that_still_tells(raw: dict[str, Any]) -> None:
    before = _params(raw, CHANCE[0])
    rule, was = _rule(before), assigned(TABLE, before).is_in([splits.TRAINING, splits.VALIDATION]).to_numpy()
    for after in (_params(raw, CHANCE[0] | {"seed": 7}), _params(raw, CHANCE[0], key=["promised"])):
        held = (assigned(TABLE, after) == splits.HOLDOUT).to_numpy()
        found = _apply(rule, TABLE, after)
        assert np.array_equal(found, was)
        assert 0.6 < found[held].mean() < 0.8


@pytest.mark.parametrize("key", [[], ["order"]])
def test_an_unused_column_and_the_order_of_columns_move_no_row(raw: dict[str, Any], key: list[str]) -> None:
    columns = raw["data"]["columns"]
    before = assigned(TABLE, _params(raw, CHANCE[0], key=key))
    table = TABLE.with_columns(note=pl.int_range(pl.len()).cast(pl.String))
    more = dict(reversed({**columns, "note": {"kind": "category"}}.items()))
    params = _params(raw, CHANCE[0], key=key, columns=more)
    assert assigned(table.select(reversed(table.columns)), params).equals(before)
    assert "note" not in splits.columns(params.split, params.data, params.target, params.features)
