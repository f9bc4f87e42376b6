"""A draft of a table whose columns are called as anything is called inside."""

from __future__ import annotations

import ast
import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from ruamel.yaml import YAML

from contract.errors import EXIT_DATA
from harness import PROJECT
from pipelines import __main__ as command
from pipelines import paths
from pipelines.data import tables
from pipelines.params import file as params_file
from pipelines.params.params import Params
from pipelines.params.source import FilesSource
from pipelines.stages.collect import stage
from pipelines.stages.features import stage as features
from pipelines.stages.screen import stage as screen
from pipelines.stages.validate import stage as validate
from tests.pipelines.commands.test_draft import draft


def _internal_names() -> list[str]:
    """Every word that may name a column in the code that a table passes through: in quotes, or as an argument."""
    names: set[Any] = {
        "len",
        "count",
        "literal",
        "index",
        "value",
        "proportion",
        "min",
        "max",
        "copies",
    }  # of polars and DuckDB
    nodes = (node for path in (PROJECT / "pipelines").rglob("*.py") for node in ast.walk(ast.parse(path.read_text())))
    for node in nodes:
        if isinstance(node, ast.Call):
            names |= {keyword.arg for keyword in node.keywords}
            names |= {entry.value for entry in node.args if isinstance(entry, ast.Constant)}
        elif isinstance(node, (ast.Assign, ast.Dict)):
            values = node.keys if isinstance(node, ast.Dict) else [node.value]
            names |= {entry.value for entry in values if isinstance(entry, ast.Constant)}
    words = {name for name in names if isinstance(name, str) and re.fullmatch("[A-Za-z_][A-Za-z0-9_]*", name)}
    return sorted({name.lower(): name for name in sorted(words)}.values())


@pytest.mark.parametrize("has_time", [False, True])
def test_columns_may_be_called_as_anything_is_called_inside(workspace: Path, has_time: bool) -> None:
    names = [name for name in _internal_names() if name not in ("outcome", tables.RAGGED)]
    assert {"month", "flag", "labels", "rows", "joined", "__label__", "__month__", "__rows__"} <= set(names)
    draw = np.random.default_rng(5)
    columns: dict[str, Any] = {name: draw.integers(0, 50, 240) + 0.5 for name in names[::2]}
    columns |= {name: [f"v{value}" for value in draw.integers(0, 5, 240)] for name in names[1::2]}
    columns |= {"outcome": draw.choice(["yes", "no"], 240)}
    columns |= {"month": [f"2024-{1 + row // 60:02}-{1 + row % 28:02}T10:00" for row in range(240)]} if has_time else {}
    pl.DataFrame(columns).write_csv("t.csv")
    draft(*(["--time", "month"] if has_time else []))
    params = params_file.load()
    for month in params.data.months:
        stage.run(params, month)
    shutil.copytree(paths.partition(params.data.months[0]).parent, paths.ACCEPTED)
    features.run(params)
    screen.run(params)
    assert len(params.features) >= len(names) - 10  # some are the names of identifiers
    assert (
        pl.read_parquet(paths.TRAINING_ROWS / "*.parquet").width == len(params.features) + 2 + has_time
    )  # the label, the part, and the day


def test_no_column_gets_the_name_of_another_one(workspace: Path) -> None:
    draw = np.random.default_rng(5)
    pl.DataFrame(
        {name: draw.integers(0, 50, 240) + 0.5 for name in ("a b", "a_b", "a_b_2")}
        | {"outcome": draw.choice(["yes", "no"], 240)}
    ).write_csv("t.csv")
    draft()
    source = params_file.load().data.source
    assert isinstance(source, FilesSource)
    assert source.rename == {"a b": "a_b_3"}


@pytest.mark.parametrize(
    ("name", "plain"),
    [("Größe (cm)", "Grosse_cm"), ("aktiv?", "aktiv"), ("Año", "Ano"), ("цена", "column"), ("2nd price", "_2nd_price")],
)
def test_name_that_is_not_valid_becomes_one_that_a_person_knows(workspace: Path, name: str, plain: str) -> None:
    draw = np.random.default_rng(5)
    pl.DataFrame({name: draw.integers(0, 50, 240) + 0.5, "outcome": draw.choice(["yes", "no"], 240)}).write_csv("t.csv")
    draft()
    source = params_file.load().data.source
    assert isinstance(source, FilesSource)
    assert source.rename == {name: plain}


@pytest.mark.parametrize("target", ["month", "count", "rows", "value", "__rows__"])
def test_target_may_be_called_as_anything_is_called_inside(workspace: Path, target: str) -> None:
    draw = np.random.default_rng(5)
    table = {
        "size": draw.gamma(2, 3, 240),
        "kind": draw.choice(["x", "y", "z"], 240),
        target: draw.choice(["u", "v"], 240),
    }
    pl.DataFrame(table).write_csv("t.csv")
    assert command.main(["draft", "t.csv", "--target", target, "--out", "params.yaml"]) == 0
    params = params_file.load()
    stage.run(params, "all")
    validate.run(params)
    features.run(params)


def test_column_that_would_be_taken_for_a_mark_is_refused(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pl.DataFrame({"a": [1, 2, 3], tables.RAGGED: ["x", "y", None], "outcome": ["u", "v", "v"]}).write_csv("t.csv")
    assert command.main(["draft", "t.csv", "--target", "outcome"]) == EXIT_DATA
    assert (
        "the source has a column '__ragged__', a name reserved for marking bad lines; rename it"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize("name", ["rows", "value", "part", "index"])
def test_column_that_splits_or_is_looked_up_may_be_called_so(workspace: Path, name: str) -> None:
    draw = np.random.default_rng(5)
    columns = {name: [f"v{value}" for value in draw.integers(0, 12, 240)], "outcome": draw.choice(["u", "v"], 240)}
    pl.DataFrame(columns).write_csv("t.csv")
    draft()
    raw = YAML(typ="safe").load(Path("params.yaml").read_text())
    raw["split"] = {"kind": "grouped", "column": name}
    raw["features"]["share"] = {"transform": "lookup", "input": name, "statistic": "share"}
    params = Params.model_validate(raw)
    stage.run(params, "all")
    shutil.copytree(paths.partition("all").parent, paths.ACCEPTED)
    features.run(params)
    screen.run(params)
    assert json.loads(paths.SCREENING.read_bytes())["features"].keys() == params.features.keys()
