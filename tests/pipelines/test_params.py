from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from dvc.utils.serialize import dumps_yaml
from pydantic import ValidationError

from contract.bundle.limits import Limits
from contract.errors import EXIT_CONFIGURATION, ConfigurationError
from contract.model.transforms import TRANSFORMS
from harness import PROJECT
from pipelines.params import file as params_file
from pipelines.params.features.transforms import FEATURES
from pipelines.params.params import Params
from pipelines.params.serving import Serving

Change = Callable[[dict[str, Any]], object]


def _load(tmp_path: Path, raw: dict[str, Any]) -> object:
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump(raw))
    return params_file.load(path)


def test_params_of_the_project_are_valid() -> None:
    assert params_file.load(PROJECT / "params.yaml").name == "flights"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda raw: raw.update(bogus=1), ["'bogus'", "unknown key", "allowed are: name, data, target"]),
        (lambda raw: raw.pop("train"), ["'train'", "required"]),
        (lambda raw: raw["train"].update(depth=3), ["'train.depth'", "max_depth"]),
        (lambda raw: raw["train"].update(max_depth="deep"), ["'train.max_depth'", "'deep'", "integer"]),
        (
            lambda raw: raw["data"]["source"].update(kind="flihgts"),
            ["'data.source'", "'flihgts'", "'flights', 'files'"],
        ),
        (
            lambda raw: raw["gates"].update(regression_margin=-0.01),
            ["'gates.regression_margin'", "-0.01", "a loss that is allowed, written without a minus sign"],
        ),
        (lambda raw: raw["gates"].update(undecided="pass"), ["'gates.undecided'", "'pass'", "'hold'"]),
        (lambda raw: raw["gates"].update(cost_margin=0.1), ["gates.cost_margin", "evaluate.decisions"]),
        (
            lambda raw: raw["evaluate"].update(decisions={"costs": [[0, 1]]}),
            ["evaluate.decisions.costs", "2 rows of 2 numbers", "kept, broken", "its rows are of 2 numbers"],
        ),
        (
            lambda raw: raw["evaluate"].update(decisions={"costs": [[0, 1], [0, 0]]}),
            ["evaluate.decisions.costs", "'broken'", "diagonal"],
        ),
        (
            lambda raw: raw["evaluate"].update(decisions={"costs": [[0, 1], ["x", 0]]}),
            ["evaluate.decisions.costs.1.0", "'x'"],
        ),
        (lambda raw: raw["data"]["source"].update(pth="x"), ["'data.source.pth'", "separator"]),
        (
            lambda raw: raw["data"]["columns"]["depot"].update(kind="categry"),
            ["data.columns.depot.kind", "'categry'", "'category'"],
        ),
        (lambda raw: raw["data"].update(months=["2024-13"]), ["'data.months.0'", "'2024-13'"]),
        (lambda raw: raw["data"].update(months=["2024-02", "2024-01"]), ["'data'", "must ascend"]),
        (lambda raw: raw["data"].update(time="when"), ["'when'", "depot, distance"]),
        (lambda raw: raw["data"].update(time="depot"), ["'depot'", "not timestamp"]),
        (lambda raw: raw["features"].update(size={"transform": "value"}), ["features.size", "'size'"]),
        (lambda raw: raw["features"].update(order={"transform": "category"}), ["features.order", "identifier"]),
        (lambda raw: raw["features"]["depot"].update(transform="onehot"), ["'features.depot'", "'onehot'", "'lookup'"]),
        (lambda raw: raw["features"]["hour"].update(part="year"), ["features.hour", "'year'", "'minute_of_day'"]),
        (lambda raw: raw["data"]["columns"]["depot"].update(pii=True, values=None), ["features.depot", "marked pii"]),
        (lambda raw: raw["data"]["columns"]["depot"].update(pii=True), ["'data.columns.depot'", "marked pii", "leave"]),
        (
            lambda raw: (
                raw["data"]["columns"]["weight"].update(pii=True),
                raw["features"]["depot_share"].update(statistic="mean", of="weight"),
            ),
            ["features.depot_share.of", "'weight'", "marked pii"],
        ),
        (
            lambda raw: (raw["tune"].update(trials=5), raw["train"].update(engine="dask")),
            ["tune.trials is 5", "train.engine is dask", "allowed: 0"],
        ),
        (lambda raw: raw["tune"].update(trials=-1), ["'tune.trials'", "-1", "greater than or equal to 0"]),
        (lambda raw: raw["tune"].update(trails=9), ["'tune.trails'", "trials, processes, space, start"]),
        (
            lambda raw: raw["tune"].update(space={"depth": [2, 4]}),
            ["tune.space names 'depth'", "family gbtree: max_depth, learning_rate"],
        ),
        (
            lambda raw: raw["tune"].update(space={"max_depth": [9, 4]}),
            ["'tune.space.max_depth'", "low is 9, high is 4"],
        ),
        (
            lambda raw: raw["tune"].update(space={"max_depth": [4, 99]}),
            ["tune.space.max_depth", "less than or equal to 20", "99"],
        ),
        (lambda raw: raw["tune"].update(space={"max_depth": [4.5, 9]}), ["tune.space.max_depth", "integer", "4.5"]),
        (
            lambda raw: raw["tune"].update(space={"learning_rate": {"low": 0, "high": 1, "log": True}}),
            ["'tune.space.learning_rate'", "low must be above 0"],
        ),
        (lambda raw: raw["tune"].update(space={"max_depth": "deep"}), ["'tune.space.max_depth'", "'deep'"]),
        (lambda raw: raw["tune"].update(start="first"), ["'tune.start", "'last'", "'first'"]),
        (
            lambda raw: raw["tune"].update(start={"max_depth": 0}),
            ["tune.start.max_depth", "greater than or equal", "0"],
        ),
        (
            lambda raw: raw.update(train={"family": "linear", "seed": 1}, tune={"trials": 5}),
            ["tune.trials is 5", "family linear", "allowed: 0"],
        ),
        (lambda raw: raw["split"].update(holdout="a while"), ["'split.holdout'", "'a while'"]),
        (lambda raw: raw["target"].update(labels=["kept"]), ["'target'", "two, the negative one first", "there are 1"]),
        (lambda raw: raw["target"].update(task="multiclass"), ["'target'", "three or more", "there are 2"]),
        (
            lambda raw: raw["target"].update(task="regression"),
            ["'target'", "labels of a regression target must be none"],
        ),
        (
            lambda raw: raw["target"].update(task="regression", labels=[], threshold=0.3),
            ["'target'", "threshold goes with two labels only"],
        ),
        (lambda raw: raw["target"].update(unit="EUR"), ["'target'", "unit goes with a number only"]),
        (lambda raw: raw.update(split={"kind": "random"}), ["'split'", "'random'", "'stratified'"]),
        (lambda raw: raw["split"].update(gap="soon"), ["'split.gap'", "'soon'"]),
        (lambda raw: raw["split"].update(seed=1), ["'split.seed'", "holdout, validation, gap"]),
        (
            lambda raw: raw.update(split={"kind": "stratified", "holdout": 0.7, "validation": 0.3}),
            ["'split", "0.7", "leave nothing to train on"],
        ),
        (
            lambda raw: raw.update(split={"kind": "stratified", "holdout": 2}),
            ["'split.holdout'", "less than 1", "(it is 2)"],
        ),
        (
            lambda raw: raw.update(split={"kind": "grouped", "column": "shop"}),
            ["split.column", "'shop'", "depot, distance"],
        ),
        (
            lambda raw: raw.update(split={"kind": "predefined", "column": "distance", "holdout": ["far"]}),
            ["split.holdout", "'far'", "'distance'", "number"],
        ),
        (
            lambda raw: (
                raw["data"]["columns"]["order"].update(pii=True),
                raw.update(split={"kind": "predefined", "column": "order", "holdout": ["order-1"]}),
            ),
            ["split.holdout", "'order'", "marked pii"],
        ),
        (lambda raw: raw.update(split={"kind": "predefined"}), ["'split", "column", "first"]),
        (
            lambda raw: raw.update(split={"kind": "predefined", "first": 100}),
            ["split.first", "data.key", "must be []"],
        ),
        (
            lambda raw: raw["data"]["columns"].update(Depot={"kind": "category"}),
            ["'depot'", "'Depot'", "differ by the case of letters alone"],
        ),
        (lambda raw: raw["target"].update(column="Weight"), ["'weight' and 'Weight' differ by the case"]),
        (lambda raw: raw["data"]["columns"].update(__label__={"kind": "number"}), ["two underscores"]),
        (
            lambda raw: raw["data"]["source"].update(rename={"weight": "distance", "distance": "weight"}),
            ["rename gives the name 'distance'", "choose a new name"],
        ),
        (lambda raw: raw["validate"].update(freshness="soon"), ["'validate.freshness'", "'soon'"]),
        (
            lambda raw: raw["data"]["columns"]["depot"].update(values=["north", date(2024, 1, 31)]),
            ["dates without quotes", "'data.columns.depot.values'", 'write it in quotes: "2024-01-31"'],
        ),
        (
            lambda raw: raw["validate"].update(
                expectations=[
                    {"type": "expect_column_max_to_be_between", "kwargs": {"min_value": datetime(2024, 1, 31)}}
                ]
            ),
            ["'validate.expectations.kwargs.min_value'", 'write it in quotes: "2024-01-31 00:00:00"'],
        ),
        (lambda raw: raw["data"].update(time=None), ["'data'", "months must be [all]"]),
        (lambda raw: raw["data"].update(months=["all"]), ["'data'", "only without a time"]),
        (
            lambda raw: raw["data"].update(time=None, months=["all"]),
            ["split.kind temporal needs data.time", "stratified"],
        ),
        (lambda raw: raw["gates"].update(linear_margin=2), ["'gates.linear_margin'", "0.5"]),
        (lambda raw: raw["serving"].update(head_timeout_s=0), ["'serving.head_timeout_s'", "greater than 0"]),
        (
            lambda raw: raw["serving"].update(body_timeout_s=float("inf")),
            ["'serving.body_timeout_s'", "finite"],
        ),
        (lambda raw: raw["serving"].update(drain_s=float("nan")), ["'serving.drain_s'"]),
        (lambda raw: raw["serving"].update(max_connections=1.5), ["'serving.max_connections'", "1.5"]),
        (lambda raw: raw["serving"].update(head_limit_bytes="16k"), ["'serving.head_limit_bytes'", "'16k'", "integer"]),
        (lambda raw: raw["serving"].update(max_connection=5), ["'serving.max_connection'", "max_connections"]),
        (
            lambda raw: raw["serving"].update(target_limit_bytes=2**20),
            ["'serving'", "target_limit_bytes must not exceed head_limit_bytes"],
        ),
        (
            lambda raw: raw["serving"].update(body_limit_bytes=2**30),
            ["'serving'", "body_limit_bytes must not exceed pending_limit_bytes"],
        ),
        (
            lambda raw: raw["serving"].update(deprecated={"depot": "category"}),
            ["serving.deprecated lists 'depot', which the feature 'depot' reads"],
        ),
        (lambda raw: raw["serving"].update(deprecated={"wind": "text"}), ["'serving.deprecated.wind'", "'text'"]),
        (lambda raw: raw["target"].update(task="ranking"), ["'target.task'", "'ranking'", "'binary'"]),
        (lambda raw: raw["validate"].update(rows=[500, 5]), ["rows must be the lowest and the highest", "[500, 5]"]),
        (lambda raw: raw["validate"].update(rows=[-5, 5]), ["'validate.rows.0'", "greater than or equal to 0"]),
        (lambda raw: raw["validate"].update(positive_rate=[0.6, 0.1]), ["positive_rate must be", "[0.6, 0.1]"]),
        (
            lambda raw: (
                raw.update(target={"column": "outcome", "task": "regression"}, gates={}, evaluate={}),
                raw["validate"].update(positive_rate=[0.1, 0.6]),
            ),
            ["validate.positive_rate goes with two labels only", "regression"],
        ),
        (
            lambda raw: raw["data"]["columns"]["weight"].update(minimum=60, maximum=50),
            ["'data.columns.weight'", "minimum must not exceed maximum (60 and 50)"],
        ),
        (
            lambda raw: raw["data"]["columns"]["weight"].update(minimum=0, maximum=9, missing_values=["0", "9.0"]),
            ["'data.columns.weight'", "minimum and maximum are among missing_values"],
        ),
        (
            lambda raw: raw["data"]["columns"]["depot"].update(values=["a", "none"], missing_values=["none"]),
            ["'data.columns.depot'", "'none' cannot be one of values and of missing_values"],
        ),
        (
            lambda raw: raw["data"]["columns"]["weight"].update(maximum=float("inf")),
            ["'data.columns.weight.maximum'", "finite"],
        ),
        (
            lambda raw: raw["data"]["columns"]["depot"].update(minimum=1),
            ["'data.columns.depot'", "go with a number only", "category"],
        ),
        (
            lambda raw: raw["data"]["columns"]["weight"].update(values=[1, 2]),
            ["'data.columns.weight'", "values go with a category only", "number"],
        ),
        (lambda raw: raw["data"]["columns"]["depot"].update(values=[]), ["'data.columns.depot'", "at least one"]),
        (lambda raw: raw["data"]["columns"]["depot"].update(values=["a", " a"]), ["none twice"]),
        (lambda raw: raw["data"].update(key=["order", "order"]), ["key names a column twice", "order, order"]),
        (lambda raw: raw["data"].update(key="order"), ["'data.key'", "must be a list", "'order'"]),
        (lambda raw: raw["data"].update(columns=["depot"]), ["'data.columns'", "must be a mapping of keys"]),
        (lambda raw: raw["data"]["columns"].update(depot="category"), ["'data.columns.depot'", "must be a mapping"]),
        (
            lambda raw: raw["data"]["columns"].update({"größe in cm": {"kind": "number"}}),
            ["'data.columns'", "ASCII", "data.source.rename", "'größe in cm'"],
        ),
        (lambda raw: raw.update(name="my model"), ["'name'", "ASCII", "'my model'"]),
        (lambda raw: raw["data"].update(months=["2024-1"]), ["'data.months.0'", 'such as "2026-01"', "'2024-1'"]),
        (lambda raw: raw["data"]["source"].pop("kind"), ["'data.source.kind'", "required"]),
        (lambda raw: raw["features"].update(depot={}), ["'features.depot.transform'", "required"]),
        (lambda raw: raw["data"]["source"].update(path=""), ["'data.source.path'", "must not be empty"]),
        (
            lambda raw: raw["data"]["source"].update(path="orders/{monht}.csv"),
            ["path has {monht}", "{month}", "${NAME}"],
        ),
        (lambda raw: raw["data"]["source"].update(separator="\\t"), ["'data.source.separator'", "a tab is"]),
        (lambda raw: raw["data"]["source"].update(separator="\r"), ["'data.source.separator'", "no end of a line"]),
        (lambda raw: raw["data"]["source"].update(separator="\0"), ["'data.source.separator'", "'\\x00'"]),
        (lambda raw: raw["data"]["source"].update(separator="§"), ["'data.source.separator'", "ASCII", "'§'"]),
        (lambda raw: raw["data"]["source"].update(separator='"'), ["separator and quote must differ"]),
        (
            lambda raw: raw["data"]["source"].update(rename={"a": "weight", "b": "weight"}),
            ["rename gives the name 'weight' to two columns"],
        ),
        (lambda raw: raw["target"].update(labels=[False, True]), ["'target.labels.0'", "in quotes", "it is false"]),
        (lambda raw: raw["target"].update(labels=["", "broken"]), ["'target'", "labels must not be blank"]),
        (lambda raw: raw["split"].update(holdout="99999999999mo"), ["'split.holdout'", "such as 1mo or 14d"]),
        (lambda raw: raw["train"].update(seed=-1), ["'train.seed'", "-1"]),
        (lambda raw: raw["train"].update(seed=2**31), ["'train.seed'", "2000000000"]),
        (
            lambda raw: raw["evaluate"].update(behaviour=[{"column": "depot", "values": "some", "moves_at_most": 0.1}]),
            ["'evaluate.behaviour.0.values'", "'some'", "'all'"],
        ),
    ],
)
def test_load_names_key_value_and_allowed_when_params_are_malformed(
    tmp_path: Path, raw: dict[str, Any], change: Change, said: list[str]
) -> None:
    change(raw)
    with pytest.raises(ConfigurationError) as caught:
        _load(tmp_path, raw)
    assert caught.value.exit_code == EXIT_CONFIGURATION
    for words in said:
        assert words in str(caught.value)


def test_each_limit_of_the_server_is_a_key_with_the_same_default() -> None:
    assert Limits(**Serving().model_dump(exclude={"budget", "deprecated"})) == Limits()


def test_load_says_so_when_file_is_missing_or_not_yaml(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot read"):
        params_file.load(tmp_path / "nowhere.yaml")
    broken = tmp_path / "params.yaml"
    broken.write_text("name: [unclosed")
    with pytest.raises(ConfigurationError, match="not YAML"):
        params_file.load(broken)
    broken.write_text("- a list")
    with pytest.raises(ConfigurationError, match="mapping"):
        params_file.load(broken)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: 2026-02-30", "has a value that cannot be read (day is out of range for month); write it in quotes"),
        (f"name: {'9' * 5000}", "has a value that cannot be read"),
        ("name: !!int many", "has a value that cannot be read"),
        ("name: &a [*a]", "is nested too deeply, or refers to itself"),
        (f"name: {'[' * 5000}{']' * 5000}", "is nested too deeply, or refers to itself"),
    ],
)
def test_load_says_so_when_a_value_is_unreadable(text: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(f"params.yaml {said}")):
        params_file.parse(text.encode(), "params.yaml")


def test_a_wrong_month_is_one_problem(raw: dict[str, Any]) -> None:
    raw["data"]["months"] = [202601]
    with pytest.raises(ConfigurationError) as caught:
        params_file.parse(yaml.safe_dump(raw).encode(), "params.yaml")
    assert [problem.field for problem in caught.value.problems] == ["data.months.0"]


def test_load_reads_as_dvc_writes(tmp_path: Path, raw: dict[str, Any]) -> None:
    raw["target"]["labels"] = ["No", "Yes"]
    path = tmp_path / "params.yaml"
    path.write_text(dumps_yaml(raw))  # as `dvc exp run -S` does: it quotes neither
    assert "No\n" in path.read_text()
    assert params_file.load(path).target.labels == ("No", "Yes")


def test_load_refuses_a_key_that_is_there_twice(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text((PROJECT / "params.yaml").read_text() + "\nserving: {}\n")
    with pytest.raises(ConfigurationError, match='duplicate key "serving"'):
        params_file.load(path)


def test_declared_texts_are_read_as_the_values_of_a_table_are(raw: dict[str, Any]) -> None:
    raw["data"]["source"]["missing"] = [-1, " ? "]
    raw["data"]["columns"]["depot"]["values"] = [1, " south"]
    raw["target"]["labels"] = [" kept", "broken "]
    params = Params.model_validate(raw)
    assert params.data.source.missing == ("-1", "?")
    assert params.data.columns["depot"].values == ("1", "south")
    assert params.target.labels == ("kept", "broken")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda raw: raw["data"]["columns"]["promised"].update(unit="days"), "unit 'days' of a timestamp is unknown"),
        (
            lambda raw: raw["data"]["source"].update(combine={"promised": {"columns": ["a"], "format": "%H:%M"}}),
            "lacks the year, the month or the day",
        ),
    ],
)
def test_timestamp_is_refused_when_nobody_can_read_it(
    raw: dict[str, Any], change: Callable[[dict[str, Any]], Any], words: str
) -> None:
    change(raw)
    with pytest.raises(ValidationError, match=words):
        Params.model_validate(raw)


def test_every_transform_has_its_parameters() -> None:
    assert FEATURES.keys() - {"history"} == TRANSFORMS.keys()
