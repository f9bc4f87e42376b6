from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any

import polars as pl
import pytest

from contract.errors import ConfigurationError
from pipelines.data import splits
from pipelines.params.params import Params, TemporalSplit
from tests.pipelines.conftest import deliveries

TABLE = pl.concat([deliveries(datetime(2024, 1, 1), 91)]).with_columns(
    depot=pl.col("promised").dt.hour().cast(pl.String)
)
CHANCE = [
    {"kind": "stratified", "holdout": 0.3, "validation": 0.1},
    {"kind": "grouped", "column": "depot", "holdout": 0.3, "validation": 0.1},
    {"kind": "predefined", "column": "depot", "holdout": ["3", "4"], "validation": 0.25},
]
KINDS = [*CHANCE, {"kind": "predefined", "first": 1000}, {"kind": "temporal", "validation": "10d", "gap": "2d"}]


def _assign(raw: dict[str, Any], split: dict[str, Any], table: pl.DataFrame = TABLE) -> pl.Series:
    data = raw["data"] | ({"key": []} if "first" in split else {})
    return assigned(table, Params.model_validate(raw | {"split": split, "data": data}))


def assigned(table: pl.DataFrame, params: Params) -> pl.Series:
    """The part of every row of the table, by these params."""
    return splits.assign(table, params.split, params.data, params.target, params.features)


@pytest.mark.parametrize("split", KINDS, ids=str)
def test_every_row_has_one_part_and_the_same_one_again(raw: dict[str, Any], split: dict[str, Any]) -> None:
    parts = _assign(raw, split)
    assert len(parts) == TABLE.height
    assert parts.null_count() == 0
    used = {splits.TRAINING, splits.VALIDATION, splits.HOLDOUT}
    assert set(parts) == (used | {splits.UNUSED} if "gap" in split else used)
    assert parts.equals(_assign(raw, split))


@pytest.mark.parametrize("split", CHANCE, ids=str)
def test_part_of_a_row_does_not_depend_on_the_order_of_the_table(raw: dict[str, Any], split: dict[str, Any]) -> None:
    shuffled = TABLE.sample(fraction=1.0, shuffle=True, seed=5)
    by_key = dict(zip(TABLE["order"], _assign(raw, split), strict=True))
    assert [by_key[key] for key in shuffled["order"]] == _assign(raw, split, shuffled).to_list()


@pytest.mark.parametrize("split", CHANCE, ids=str)
def test_another_seed_gives_other_parts(raw: dict[str, Any], split: dict[str, Any]) -> None:
    assert not _assign(raw, split).equals(_assign(raw, split | {"seed": 7}))


def test_stratified_parts_have_the_same_share_of_every_label(raw: dict[str, Any]) -> None:
    parts = _assign(raw, CHANCE[0])
    for label in ("kept", "broken", None):
        counts = Counter(parts.filter(TABLE["outcome"].eq_missing(label)))
        total = sum(counts.values())
        assert abs(counts[splits.HOLDOUT] - 0.3 * total) <= 0.5
        assert abs(counts[splits.VALIDATION] - 0.1 * total) <= 0.5


def test_grouped_parts_split_no_entity_and_have_about_their_share(raw: dict[str, Any]) -> None:
    parts = _assign(raw, CHANCE[1])
    largest = max(Counter(TABLE["depot"]).values())
    assert TABLE.group_by("depot").agg(parts=parts.n_unique()).height == TABLE["depot"].n_unique()
    assert all(len(set(parts.filter(TABLE["depot"] == depot))) == 1 for depot in TABLE["depot"].unique())
    for part, share in ((splits.HOLDOUT, 0.3), (splits.VALIDATION, 0.1)):
        assert 0 <= (parts == part).sum() - share * TABLE.height < largest


def test_grouped_parts_are_none_empty_when_there_are_three_entities(raw: dict[str, Any]) -> None:
    table = TABLE.with_columns(depot=pl.Series(["a", "b", "c"] * 607)[: TABLE.height])
    assert set(_assign(raw, CHANCE[1], table)) == {splits.TRAINING, splits.VALIDATION, splits.HOLDOUT}


def test_predefined_parts_follow_the_column(raw: dict[str, Any]) -> None:
    parts = _assign(raw, CHANCE[2])
    assert ((parts == splits.HOLDOUT) == TABLE["depot"].is_in(["3", "4"])).all()
    others = parts.filter(parts != splits.HOLDOUT)
    assert (others == splits.VALIDATION).mean() == pytest.approx(0.25, abs=0.002)


def test_predefined_parts_follow_a_column_of_numbers(raw: dict[str, Any]) -> None:
    parts = _assign(raw, {"kind": "predefined", "column": "distance", "holdout": [3, "4.0"]})
    assert ((parts == splits.HOLDOUT) == TABLE["distance"].is_in([3.0, 4.0])).all()


def test_predefined_parts_take_the_first_rows_to_learn_from(raw: dict[str, Any]) -> None:
    parts = _assign(raw, KINDS[3])
    assert set(parts[:1000]) == {splits.TRAINING, splits.VALIDATION}
    assert set(parts[1000:]) == {splits.HOLDOUT}


def test_temporal_parts_keep_their_distance(raw: dict[str, Any]) -> None:
    parts, times = _assign(raw, KINDS[4]), TABLE["promised"]
    holdout, validation, training = (
        times.filter(parts == part) for part in (splits.HOLDOUT, splits.VALIDATION, splits.TRAINING)
    )
    assert holdout.min() >= datetime(2024, 3, 1)
    assert validation.max() < datetime(2024, 2, 28)
    assert validation.min() >= datetime(2024, 2, 18)
    assert training.max() < datetime(2024, 2, 16)
    gaps = times.is_between(datetime(2024, 2, 28), datetime(2024, 3, 1), closed="left") | times.is_between(
        datetime(2024, 2, 16), datetime(2024, 2, 18), closed="left"
    )
    assert ((parts == splits.UNUSED) == gaps).all()


@pytest.mark.parametrize(
    ("split", "validation", "holdout"),
    [
        (TemporalSplit(kind="temporal"), datetime(2024, 2, 1), datetime(2024, 3, 1)),
        (TemporalSplit(kind="temporal", holdout="10d", validation="1mo"), datetime(2024, 2, 22), datetime(2024, 3, 22)),
    ],
)
def test_boundaries_count_back_from_the_end_of_the_last_month(
    split: TemporalSplit, validation: datetime, holdout: datetime
) -> None:
    found = splits.boundaries(["2024-01", "2024-02", "2024-03"], split)
    assert found == (validation, validation, holdout, holdout, datetime(2024, 4, 1))


@pytest.mark.parametrize("split", [{}, {"holdout": "14d", "validation": "14d", "gap": "1mo"}])
def test_boundaries_say_what_to_do_when_nothing_is_left_to_train_on(split: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match=r"leave nothing to train on in 2024-01 … 2024-02"):
        splits.boundaries(["2024-01", "2024-02"], TemporalSplit(kind="temporal", **split))


@pytest.mark.parametrize(
    ("months", "part"),
    [
        (["2024-01", "2024-03"], "validation lies from 2024-02-01 to 2024-03-01"),
        (["2023-11", "2023-12", "2024-03"], "validation lies from 2024-02-01 to 2024-03-01"),
    ],
)
def test_boundaries_name_the_part_that_lies_in_a_hole_of_the_months(months: list[str], part: str) -> None:
    with pytest.raises(ConfigurationError, match=part):
        splits.boundaries(months, TemporalSplit(kind="temporal"))


def test_boundaries_propose_a_split_that_fits_when_months_are_few() -> None:
    with pytest.raises(ConfigurationError, match=r"`holdout: 12d, validation: 12d` would leave three fifths"):
        splits.boundaries(["2024-01", "2024-02"], TemporalSplit(kind="temporal"))
    splits.boundaries(["2024-01", "2024-02"], TemporalSplit(kind="temporal", holdout="12d", validation="12d"))
