"""Declarations of histories and of columns that are known later: refused by their key."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from contract.errors import EXIT_CONFIGURATION, ConfigurationError
from pipelines.params import file as params_file
from tests.pipelines.features.history.conftest import MEAN, Raw


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"known_at": "arrived"}, ["features.h.known_at", "'arrived'", "data.columns does not have"]),
        ({"known_at": "lateness"}, ["features.h.known_at", "'lateness'", "kind number", "timestamp"]),
        ({"known_at": None}, ["features.h.known_at", "must be text"]),
        ({"window": "2 hours"}, ["features.h.window", "'2 hours'", "30min, 2h or 28d"]),
        ({"window": "0h"}, ["features.h", "window", "longer than 0"]),
        ({"window": "1mo"}, ["features.h.window", "'1mo'", "30min, 2h or 28d"]),
        ({"horizon": "-1h"}, ["features.h.horizon", "'-1h'"]),
        ({"statistic": "median"}, ["features.h.statistic", "'median'", "'pending'"]),
        ({"statistic": "count"}, ["features.h.value", "sum, mean, min, max, last need a value"]),
        ({"value": None}, ["features.h.value", "sum, mean, min, max, last need a value"]),
        ({"value": "late"}, ["features.h.value", "'late'", "data.columns does not have"]),
        ({"value": "depot"}, ["features.h.value", "'depot'", "number or boolean"]),
        ({"by": ["carrier"]}, ["features.h.by", "'carrier'", "data.columns does not have"]),
        ({"by": ["distance"]}, ["features.h.by", "'distance'", "category, identifier, boolean"]),
        ({"by": ["taken_by"]}, ["features.h.by", "'taken_by'", "known: later"]),
    ],
)
def test_history_is_refused_by_its_key_when_it_does_not_suit_the_table(
    tmp_path: Path, raw: Raw, change: Raw, said: list[str]
) -> None:
    raw["data"]["columns"]["taken_by"] = {"kind": "category", "known": "later"}
    _refused(tmp_path, raw | {"features": {"h": MEAN | change}}, said)


def test_history_is_refused_without_a_time_or_under_the_name_of_a_column(tmp_path: Path, raw: Raw) -> None:
    _refused(tmp_path, raw | {"features": {"lateness": MEAN}}, ["features.lateness", "rename the feature"])
    raw["data"] |= {"time": None, "months": ["all"]}
    raw["split"] = {"kind": "stratified"}
    _refused(tmp_path, raw | {"features": {"h": MEAN}}, ["features.h", "data.time"])


@pytest.mark.parametrize(
    "feature",
    [
        {"transform": "value", "input": "lateness"},
        {"transform": "calendar", "input": "delivered", "part": "hour"},
        {"transform": "ratio", "inputs": ["distance", "lateness"]},
        {"transform": "lookup", "input": "depot", "statistic": "mean", "of": "lateness"},
    ],
)
def test_column_that_is_known_later_is_refused_to_every_other_transform(tmp_path: Path, raw: Raw, feature: Raw) -> None:
    _refused(tmp_path, raw | {"features": {"leak": feature}}, ["features.leak", "known: later", "only the transform"])


@pytest.mark.parametrize(
    ("column", "keys", "said"),
    [
        ("delivered", {"required": True}, ["data.columns.delivered", "required is about requests"]),
        ("promised", {"known": "later"}, ["'promised'", "known: later"]),
        ("distance", {"utc_of": "promised"}, ["data.columns.distance", "utc_of goes with a timestamp"]),
        ("promised", {"utc_of": "when"}, ["columns.promised.utc_of", "'when'"]),
    ],
)
def test_declaration_of_a_column_is_refused_when_it_contradicts_itself(
    tmp_path: Path, raw: Raw, column: str, keys: Raw, said: list[str]
) -> None:
    raw["data"]["columns"][column] |= keys
    _refused(tmp_path, raw, said)


def _refused(tmp_path: Path, raw: Raw, said: list[str]) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(raw))
    with pytest.raises(ConfigurationError) as caught:
        params_file.load(path)
    assert caught.value.exit_code == EXIT_CONFIGURATION
    for words in said:
        assert words in str(caught.value)
